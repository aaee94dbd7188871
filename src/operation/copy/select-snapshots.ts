import type { SnapshotId } from '../../repository/ids.ts';
import { selectSnapshot, type StoredSnapshot } from '../open-repository.ts';
import { snapshotTime } from '../reading/signed-snapshot.ts';

/** Which snapshots to copy; without any of it, all. */
export interface CopySelection {
  /** As a user names them: see `selectSnapshot`. */
  readonly snapshots?: readonly string[];
  /** Made then or later, by their names. */
  readonly since?: Date;
  /** Of those, the last so many. */
  readonly latest?: number;
}

/** In order of the chain. @throws usage if one is named that is not there */
export function selectSnapshots(
  committed: readonly StoredSnapshot[],
  { snapshots, since, latest }: CopySelection,
): SnapshotId[] {
  const named = snapshots && new Set(snapshots.map((selector) => selectSnapshot(committed, selector)));
  const chosen = committed
    .map(({ id }) => id)
    .filter((id) => (named?.has(id) ?? true) && (since === undefined || isSince(id, since)));
  return latest === undefined ? chosen : chosen.slice(-latest);
}

function isSince(id: SnapshotId, since: Date): boolean {
  try {
    return snapshotTime(id) >= since;
  } catch {
    // A name whose time is none: let the checks that follow say so.
    return true;
  }
}
