/** The name that was probably meant: one that begins so, or one at most two typing errors away. */
export function nearestName(typed: string, names: readonly string[]): string | undefined {
  const begun = names.filter((name) => typed.length >= 2 && name.startsWith(typed));
  if (begun.length === 1) return begun[0];
  const [best] = names
    .map((name) => ({ name, distance: typingErrors(typed, name) }))
    .toSorted((a, b) => a.distance - b.distance);
  return best && best.distance <= Math.min(2, Math.floor(typed.length / 2)) ? best.name : undefined;
}

/** Insertions, deletions, replacements and swaps of neighbours that make one word out of the other. */
function typingErrors(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1] ? 0 : 1;
      let least = Math.min(above[column]! + 1, current[column - 1]! + 1, above[column - 1]! + same);
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) least = Math.min(least, before[column - 2]! + 1);
      current.push(least);
    }
    [before, above] = [above, current];
  }
  return above[b.length]!;
}
