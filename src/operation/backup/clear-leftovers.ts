import type { Storage } from '../../storage/storage.ts';

/**
 * An upload that nobody has touched for so long belongs to no run. Those of this host there are none: its lock is held.
 * But another host may share the folder (one that keeps it, or copies into it), and a pack that is finished waits for its
 * turn when uploads are limited: 2 GiB of them, at 25 KiB a second.
 */
const untouchedMs = 24 * 60 * 60 * 1000;

/**
 * Removes what killed runs have left half uploaded. It takes room and does no other harm, so that failing to remove it is
 * no reason not to back up; and a run whose upload were taken away would fail and store nothing wrong.
 */
export async function clearLeftovers(storage: Storage, signal: AbortSignal): Promise<void> {
  try {
    await storage.removeUnfinished?.(untouchedMs, signal);
  } catch {
    signal.throwIfAborted();
  }
}
