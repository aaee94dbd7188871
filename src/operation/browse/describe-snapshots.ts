import { SalvageError } from '../../errors/salvage-error.ts';
import type { SnapshotId } from '../../repository/ids.ts';
import { snapshotFileName } from '../../repository/layout.ts';
import type { SnapshotJson } from '../../repository/snapshot/snapshot-json.ts';
import type { SnapshotRoot } from '../../repository/snapshot/root-json.ts';
import type { Storage } from '../../storage/storage.ts';
import { forgottenSnapshots, readKeeperHistory } from '../keeper/keeper-records.ts';
import { listSnapshots, readRepositoryJson } from '../open-repository.ts';
import { openSnapshot } from '../open-snapshot.ts';
import type { SealedObjects } from '../reading/sealed-objects.ts';
import { listRemovedSnapshots, type RemovedSnapshot } from '../reading/removed-snapshots.ts';
import {
  readSignedSnapshot,
  readSnapshotJson,
  snapshotTime,
  type SignatureState,
  type TrustedSigners,
} from '../reading/signed-snapshot.ts';

/** What can be told of a snapshot. One that is damaged or forged is told of as well. */
export interface SnapshotDescription {
  readonly id: SnapshotId;
  /** Undefined, like what follows, where `trouble` says why. */
  readonly signature: SignatureState | undefined;
  readonly facts: SnapshotJson | undefined;
  /** Only with an identity. */
  readonly root: SnapshotRoot | undefined;
  readonly trouble: SalvageError | undefined;
  /** Storage lists it no more, but keeps older versions. */
  readonly removed: RemovedSnapshot | undefined;
}

/**
 * Every snapshot, in order, and those that were removed and can still be read: not by the trusted keeper, as far as its
 * records say. @throws no-repository; no-identity-match if there are identities and none fits; failed if storage cannot
 * be listed
 */
export async function* describeSnapshots(
  storage: Storage,
  trusted: TrustedSigners | undefined,
  objects: SealedObjects | undefined,
  keeper: TrustedSigners | undefined,
  signal?: AbortSignal,
): AsyncGenerator<SnapshotDescription> {
  const { committed } = await listSnapshots(storage, signal);
  if (committed.length === 0) await readRepositoryJson(storage, signal);
  const removed = await findRemoved(storage, keeper, signal);
  objects?.expect(committed.map(({ id }) => snapshotFileName(id, 'root.age')));
  for (const id of [...committed.map(({ id }) => id), ...removed.keys()].sort()) {
    signal?.throwIfAborted();
    let signature: SignatureState | undefined;
    let facts: SnapshotJson | undefined;
    let root: SnapshotRoot | undefined;
    let trouble: SalvageError | undefined;
    try {
      const signed = await readSignedSnapshot(storage, id, trusted, snapshotTime(id), signal);
      ({ signature } = signed);
      facts = await readSnapshotJson(storage, signed, signal);
      if (objects) ({ root } = await openSnapshot(storage, signed, objects, signal));
    } catch (error) {
      if (!(error instanceof SalvageError) || !['damaged', 'bad-signature', 'failed'].includes(error.code))
        throw error;
      // Nothing good is left of it: it is merely gone.
      if (removed.has(id) && error.code !== 'failed') continue;
      trouble = error;
    }
    yield { id, signature, facts, root, trouble, removed: removed.get(id) };
  }
}

async function findRemoved(
  storage: Storage,
  keeper: TrustedSigners | undefined,
  signal?: AbortSignal,
): Promise<Map<SnapshotId, RemovedSnapshot>> {
  const removed = new Map<SnapshotId, RemovedSnapshot>();
  for (const snapshot of await listRemovedSnapshots(storage, signal)) removed.set(snapshot.id, snapshot);
  if (removed.size === 0 || !keeper) return removed;
  const { id } = await readRepositoryJson(storage, signal);
  const { records } = await readKeeperHistory(storage, id, keeper, signal);
  for (const { id } of forgottenSnapshots(records).values()) removed.delete(id);
  return removed;
}
