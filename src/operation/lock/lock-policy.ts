import { SalvageError } from '../../errors/salvage-error.ts';
import type { LockPolicy } from '../../repository/host-configuration.ts';
import type { ObjectLock, Retention, Storage } from '../../storage/storage.ts';

const dayMs = 86_400_000;
const mostDays = 36_500;

/** @throws usage for a number of days that makes no sense */
export function checkLockPolicy(policy: LockPolicy): void {
  if (!Number.isInteger(policy.days) || policy.days < 1 || policy.days > mostDays)
    throw new SalvageError(
      'usage',
      `Cannot lock for ${policy.days} days: give a number from 1 to ${mostDays}`,
    );
}

/** Until when everything that a snapshot made now needs must be locked. */
export function neededUntil({ days }: LockPolicy, now: Date): Date {
  return new Date(now.getTime() + days * dayMs);
}

/**
 * The lock that objects get: an eighth longer than needed, a day at least, so that not every backup has to extend the lock
 * of every pack, but each pack's only once in so long.
 */
export function retentionFrom({ mode, days }: LockPolicy, now: Date): Retention {
  return retentionUntil(mode, now.getTime() + (days + Math.max(1, Math.ceil(days / 8))) * dayMs);
}

/** The lock of what no later snapshot uses, an archive: as long as needed. */
export function finalRetentionFrom(policy: LockPolicy, now: Date): Retention {
  return retentionUntil(policy.mode, neededUntil(policy, now).getTime());
}

function retentionUntil(mode: LockPolicy['mode'], untilMs: number): Retention {
  // Some stores keep whole seconds.
  return { mode, until: new Date(Math.ceil(untilMs / 1000) * 1000) };
}

/** @throws usage if the storage has no locks */
export function requireObjectLock(storage: Storage): ObjectLock {
  if (storage.objectLock) return storage.objectLock;
  throw new SalvageError(
    'usage',
    `Cannot lock what is stored in "${storage.description}": this kind of storage has no locks`,
    {
      hint: 'Object Lock is a thing of s3:// buckets; leave out --lock-days elsewhere.',
    },
  );
}
