import { Option, type Command } from 'commander';
import { SalvageError } from '../errors/salvage-error.ts';
import { checkLockPolicy } from '../operation/lock/lock-policy.ts';
import type { LockPolicy } from '../repository/host-configuration.ts';

/** What addLockFlags puts among the options of a command. */
export interface LockFlags {
  readonly lockDays?: string;
  readonly lockMode?: LockPolicy['mode'];
}

/** Adds --lock-days and --lock-mode. `locked` says what is locked, and when. */
export function addLockFlags(
  program: Command,
  locked = 'lock all that a snapshot needs for so many days, and again with every later one',
): void {
  program
    .option('--lock-days <number>', `${locked} (s3:// buckets with Object Lock)`)
    .addOption(
      new Option(
        '--lock-mode <mode>',
        'compliance: nobody can end a lock; governance: a special right can (default: compliance)',
      ).choices(['compliance', 'governance']),
    );
}

/** Undefined if nothing is to be locked. @throws usage */
export function readLockPolicy({ lockDays, lockMode }: LockFlags): LockPolicy | undefined {
  if (lockDays === undefined) {
    if (lockMode === undefined) return undefined;
    throw new SalvageError('usage', 'Cannot use --lock-mode without --lock-days');
  }
  const policy = { mode: lockMode ?? 'compliance', days: Number(lockDays) };
  checkLockPolicy(policy);
  return policy;
}
