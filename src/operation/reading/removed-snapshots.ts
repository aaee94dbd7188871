import type { SnapshotId } from '../../repository/ids.ts';
import { roleOf, snapshotsPrefix } from '../../repository/layout.ts';
import type { ObjectVersion, Storage } from '../../storage/storage.ts';

/** A snapshot of which only older versions are left. Says nothing of whether it is genuine, nor who removed it and why. */
export interface RemovedSnapshot {
  readonly id: SnapshotId;
  /** When its signature was removed, if storage tells. */
  readonly at: Date | undefined;
}

/**
 * The snapshots that storage no longer lists, in order, where it keeps older versions: removed by a keeper, or by an
 * attacker. `readSignedSnapshot` still reads them.
 */
export async function listRemovedSnapshots(
  storage: Storage,
  signal?: AbortSignal,
): Promise<RemovedSnapshot[]> {
  const signatures = new Map<SnapshotId, ObjectVersion>();
  for await (const version of storage.versions?.list(snapshotsPrefix, signal) ?? []) {
    const role = roleOf(version.name);
    // The newest version comes last.
    if (role?.kind === 'snapshot' && role.file === 'SHA256SUMS.sig') signatures.set(role.id, version);
  }
  return [...signatures]
    .filter(([, { superseded }]) => superseded?.by === 'removal')
    .map(([id, { superseded }]) => ({ id, at: superseded!.at }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** One sentence for a person. */
export function describeRemoval({ id, at }: RemovedSnapshot): string {
  const when = at ? ` at ${at.toISOString()}` : '';
  return `Snapshot ${id} was removed${when}, by somebody with the right to do so; older versions of its objects are left, and "salvage restore ${id}" restores it`;
}
