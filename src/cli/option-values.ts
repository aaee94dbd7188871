import { SalvageError } from '../errors/salvage-error.ts';

/** A whole number within bounds. `flag` is for messages. @throws usage */
export function parseNumber(text: string, flag: string, least: number, most: number): number {
  const number = /^-?\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(number >= least && number <= most))
    throw new SalvageError(
      'usage',
      `Cannot use ${flag} "${text.slice(0, 100)}": give a number from ${least} to ${most}`,
    );
  return number;
}

/** Gathers the values of a flag that may be given several times, as commander calls it. */
export function gather(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}
