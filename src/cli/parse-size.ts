import { SalvageError } from '../errors/salvage-error.ts';

const factors: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** `500M`, `1.5G`, `200KiB`, plain bytes: units count in 1024. `flag` is for messages. @throws usage */
export function parseSize(text: string, flag: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,3})?)\s*([kmgt]?)(?:i?b)?$/i.exec(text.trim());
  const bytes = Math.floor(Number(match?.[1]) * (factors[match?.[2]?.toLowerCase() ?? ''] ?? Number.NaN));
  if (!match || !Number.isSafeInteger(bytes) || bytes < 1)
    throw new SalvageError('usage', `Cannot use ${flag} "${text.slice(0, 100)}": it is not a size`, {
      hint: `For example ${flag} 500M.`,
    });
  return bytes;
}
