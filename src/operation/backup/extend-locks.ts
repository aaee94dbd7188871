import type { LockPolicy } from '../../repository/host-configuration.ts';
import type { Storage } from '../../storage/storage.ts';
import { neededUntil, requireObjectLock, retentionFrom } from '../lock/lock-policy.ts';
import { LockTimes } from './lock-times.ts';

export interface ExtendLocksOptions {
  readonly storage: Storage;
  readonly policy: LockPolicy;
  /** All that the new snapshot needs, old and new. */
  readonly names: readonly string[];
  /** Where this host remembers what it has locked, and until when. Disposable. */
  readonly path: string;
  /** When the run began, which is what new objects were locked by. */
  readonly started: Date;
  readonly now: Date;
  readonly signal: AbortSignal;
}

/**
 * Makes sure that everything a snapshot needs is locked for as long as the policy wants, from now on. Only locks that are
 * about to be too short, or of which nothing is remembered, cost requests. Returns how many those were.
 * @throws usage, failed
 */
export async function extendLocks(options: ExtendLocksOptions): Promise<number> {
  const { storage, policy, names, path, started, now, signal } = options;
  const lock = requireObjectLock(storage);
  const times = LockTimes.read(path);
  const needed = neededUntil(policy, now);
  const short = names.filter((name) => times.until(name) < needed);
  if (short.length > 0) {
    const sinceStart = retentionFrom(policy, started);
    // Unless the run took days, what it stored is locked for long enough.
    const retention = sinceStart.until >= needed ? sinceStart : retentionFrom(policy, now);
    await lock.extend(short, retention, signal);
    for (const name of short) times.set(name, retention.until);
  }
  times.write(path, names);
  return short.length;
}
