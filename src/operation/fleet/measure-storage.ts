import type { Storage } from '../../storage/storage.ts';

const dayMs = 86_400_000;

/** What lies in storage under the names of a repository. Nothing of it is signed: an estimate for people and graphs. */
export interface StoredAmount {
  readonly objects: number;
  readonly bytes: number;
  /** What came in within so many days, by the clock of storage. Undefined where it does not tell when. */
  readonly grown: { readonly day: number; readonly week: number; readonly month: number } | undefined;
}

/** One listing. @throws failed, interrupted */
export async function measureStorage(
  storage: Storage,
  now: Date,
  signal?: AbortSignal,
): Promise<StoredAmount> {
  let objects = 0;
  let bytes = 0;
  let tellsTimes = true;
  const grown = { day: 0, week: 0, month: 0 };
  for await (const { sizeBytes, receivedAt } of storage.list('', signal)) {
    objects++;
    bytes += sizeBytes;
    if (!receivedAt) {
      tellsTimes = false;
      continue;
    }
    const days = (now.getTime() - receivedAt.getTime()) / dayMs;
    if (days < 1) grown.day += sizeBytes;
    if (days < 7) grown.week += sizeBytes;
    if (days < 30) grown.month += sizeBytes;
  }
  return { objects, bytes, grown: tellsTimes ? grown : undefined };
}
