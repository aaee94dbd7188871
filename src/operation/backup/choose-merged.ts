import type { PackTable } from '../../repository/pack/pack-table.ts';
import type { PackFacts } from './pack-facts.ts';

/** A pack of which a snapshot uses less than this share is not used at all (docs/design/format.md "Deduplication"). */
const leastShare = 0.25;
/** So many small packs of one kind are left alone … */
const smallPacksLeft = 12;
/** … and of more than that so many are merged in one run. */
const mergedAtOnce = 8;
/** A pack is small below this share of the size at which packs are closed. */
const smallShare = 0.25;

/**
 * The packs whose content this run is to write anew, by number: those that are hardly used any more, and a few of the
 * small ones that small runs leave. The old packs die with the snapshots that still need them.
 */
export function chooseMerged(packs: PackTable, facts: PackFacts, targetBytes: number): Set<number> {
  const merged = new Set<number>();
  const small: { readonly number: number; readonly kind: string; readonly sizeBytes: number }[] = [];
  for (let number = 0; number < facts.size; number++) {
    const fact = facts.get(number);
    const used = facts.usedBytes(number);
    // Of a pack that the last snapshot does not use nothing is known: it may hold just what comes next.
    if (!fact || used === 0 || packs.idOf(number) === undefined) continue;
    if (used < fact.rawBytes * leastShare) merged.add(number);
    else if (fact.sizeBytes < targetBytes * smallShare) small.push({ number, ...fact });
  }
  for (const kind of ['content', 'tree']) {
    const ofKind = small.filter((pack) => pack.kind === kind);
    if (ofKind.length <= smallPacksLeft) continue;
    // The smallest first: together they make one pack, and reading them again costs least.
    const chosen = ofKind.toSorted((a, b) => a.sizeBytes - b.sizeBytes).slice(0, mergedAtOnce);
    for (const { number } of chosen) merged.add(number);
  }
  return merged;
}
