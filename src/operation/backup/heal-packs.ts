import { statSync } from 'node:fs';
import { BlobLevel, levelRecords, type BlobLocation } from '../../repository/cache/blob-level.ts';

/** What came of the packs that auditors asked to be healed. */
export interface HealingOutcome {
  /** Packs that no new snapshot refers to from this one on. */
  readonly packs: number;
  /** Of their content, what is stored anew, and good in this snapshot. */
  readonly bytesHealed: number;
  /** Content that this host does not have any more: only older snapshots need it. */
  readonly bytesLost: number;
  /** Packs that wait for the next run. */
  readonly packsDeferred: number;
}

/** A run heals a quarter of the packs that it knows: whoever holds an auditor's key must not have everything read each time. */
export function mostHealedPacks(known: number): number {
  return Math.max(16, Math.ceil(known / 4));
}

/**
 * Looks up what the given packs held. `levels` are the levels of the runs before, `own` those of this run.
 * @param isUsable false for packs that may not be referred to
 */
export function compareHealed(
  numbers: readonly number[],
  levels: readonly string[],
  own: readonly string[],
  isUsable: (pack: number) => boolean,
): Pick<HealingOutcome, 'bytesHealed' | 'bytesLost'> {
  const wanted = new Set(numbers);
  const opened: BlobLevel[] = [];
  let bytesHealed = 0;
  let bytesLost = 0;
  try {
    for (const path of [...own, ...levels]) {
      const level = BlobLevel.open(path, statSync(path).size);
      if (level) opened.push(level);
    }
    const isThere = (digest: Buffer): boolean =>
      opened.some((level) => {
        const found: BlobLocation | undefined = level.find(digest);
        return found !== undefined && isUsable(found.pack);
      });
    for (const level of opened)
      for (const { digest, location } of levelRecords(level)) {
        if (!wanted.has(location.pack)) continue;
        if (isThere(digest)) bytesHealed += location.length;
        else bytesLost += location.length;
      }
  } finally {
    for (const level of opened) level.close();
  }
  return { bytesHealed, bytesLost };
}
