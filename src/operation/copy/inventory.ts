import type { SnapshotId } from '../../repository/ids.ts';
import {
  handoverPrefix,
  indexPrefix,
  keeperPrefix,
  packsPrefix,
  roleOf,
  snapshotsPrefix,
  type SnapshotFile,
} from '../../repository/layout.ts';
import type { Storage } from '../../storage/storage.ts';
import { groupSnapshots, type StoredSnapshot } from '../open-repository.ts';

/** What listings tell of a repository. Says nothing of whether anything in it is genuine. */
export interface Inventory {
  /** Sizes of all objects in its folders, by name. */
  readonly sizes: Map<string, number>;
  /** Snapshots with a signature, in order, and by their ids. */
  readonly committed: readonly StoredSnapshot[];
  readonly byId: ReadonlyMap<SnapshotId, StoredSnapshot>;
  readonly hasRecords: boolean;
  readonly hasHandovers: boolean;
}

/**
 * Lists each thing once. Names that no object of a repository has are passed over. A backup may be under way: of a snapshot
 * that is found here, all objects are.
 */
export async function takeInventory(storage: Storage, signal?: AbortSignal): Promise<Inventory> {
  const sizes = new Map<string, number>();
  const files = new Map<SnapshotId, Map<SnapshotFile, number>>();
  let hasRecords = false;
  let hasHandovers = false;
  const take = async (prefix: string): Promise<void> => {
    for await (const { name, sizeBytes } of storage.list(prefix, signal)) {
      const role = roleOf(name);
      if (!role) continue;
      sizes.set(name, sizeBytes);
      if (role.kind === 'keeper') hasRecords = true;
      if (role.kind === 'handover') hasHandovers = true;
      if (role.kind !== 'snapshot') continue;
      let found = files.get(role.id);
      if (!found) files.set(role.id, (found = new Map()));
      found.set(role.file, sizeBytes);
    }
  };
  // Snapshots first: what is needed by one that is there by then is there as well.
  await take(snapshotsPrefix);
  await Promise.all([keeperPrefix, handoverPrefix, indexPrefix, packsPrefix].map(take));
  const { committed } = groupSnapshots(files);
  return {
    sizes,
    committed,
    byId: new Map(committed.map((snapshot) => [snapshot.id, snapshot])),
    hasRecords,
    hasHandovers,
  };
}
