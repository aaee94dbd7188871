/**
 * Loads what belongs to each item and yields it in the order of the items, up to `ahead` of them before their turn. A load
 * that fails fails when its turn comes; the others have ended when the generator has.
 */
export async function* prefetch<Item, Loaded>(
  items: readonly Item[],
  ahead: number,
  load: (item: Item) => Promise<Loaded>,
): AsyncGenerator<readonly [Item, Loaded]> {
  const loads: Promise<Loaded>[] = [];
  const begin = (item: Item | undefined): void => {
    if (item === undefined) return;
    const loading = load(item);
    loading.catch(() => {});
    loads.push(loading);
  };
  try {
    items.slice(0, ahead).forEach(begin);
    for (const [index, item] of items.entries()) {
      const loaded = await loads.shift()!;
      begin(items[index + ahead]);
      yield [item, loaded];
    }
  } finally {
    await Promise.allSettled(loads);
  }
}
