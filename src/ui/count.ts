/** `1 snapshot`, `2 snapshots`; what does not end in an s is given as a second word: `2 entries`. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
