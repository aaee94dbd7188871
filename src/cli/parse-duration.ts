import { SalvageError } from '../errors/salvage-error.ts';

const secondMs = 1000;
const dayMs = 86_400 * secondMs;
/** A month counts 31 days and a year 366, so that nothing goes too early. */
const unitsMs: Readonly<Record<string, number>> = {
  s: secondMs,
  min: 60 * secondMs,
  h: 3600 * secondMs,
  d: dayMs,
  w: 7 * dayMs,
  m: 31 * dayMs,
  y: 366 * dayMs,
};

/** `24h`, `7d`, `1y6m`, `90min`, as milliseconds. `flag` is for messages. @throws usage */
export function parseDuration(text: string, flag: string): number {
  const parts = [...text.matchAll(/(\d{1,6})(min|[shdwmy])/gy)];
  const isWhole = parts.length > 0 && parts.map(([part]) => part).join('') === text;
  if (!isWhole)
    throw new SalvageError('usage', `Cannot use ${flag} "${text.slice(0, 100)}": it is not a duration`, {
      hint: `For example ${flag} 36h, 7d, or 1y6m.`,
    });
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * unitsMs[unit!]!, 0);
}
