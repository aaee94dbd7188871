import type { SnapshotId } from '../../repository/ids.ts';
import { roleOf, type SnapshotFile } from '../../repository/layout.ts';
import type { Storage } from '../../storage/storage.ts';

/** What storage says that it has. */
export interface RepositoryListing {
  /** Sizes of packs and index objects, by name. */
  readonly objects: ReadonlyMap<string, number>;
  readonly snapshotFiles: ReadonlyMap<SnapshotId, Map<SnapshotFile, number>>;
  /** Records of a keeper. */
  readonly hasRecords: boolean;
  readonly hasHandovers: boolean;
}

export async function listRepository(storage: Storage, signal?: AbortSignal): Promise<RepositoryListing> {
  const objects = new Map<string, number>();
  const snapshotFiles = new Map<SnapshotId, Map<SnapshotFile, number>>();
  let hasRecords = false;
  let hasHandovers = false;
  for await (const { name, sizeBytes } of storage.list('', signal)) {
    const role = roleOf(name);
    switch (role?.kind) {
      case 'pack':
      case 'index':
        objects.set(name, sizeBytes);
        break;
      case 'snapshot': {
        let files = snapshotFiles.get(role.id);
        if (!files) snapshotFiles.set(role.id, (files = new Map()));
        files.set(role.file, sizeBytes);
        break;
      }
      case 'keeper':
        hasRecords = true;
        break;
      case 'handover':
        hasHandovers = true;
        break;
    }
  }
  return { objects, snapshotFiles, hasRecords, hasHandovers };
}
