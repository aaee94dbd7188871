import { createHmac } from 'node:crypto';

/**
 * Stands for a set of recipients in the records of rewrapping, and tells nothing of them to who does not know the chunker
 * seed: whoever has a list of public keys cannot find out which of them a repository is for (docs/design/format.md).
 */
export function recipientsId(chunkerSeed: Uint8Array, recipients: readonly string[]): string {
  const text = ['salvage-recipients-v1', ...[...new Set(recipients)].sort()].join('\0');
  return createHmac('sha256', chunkerSeed).update(text).digest().toString('hex', 0, 16);
}
