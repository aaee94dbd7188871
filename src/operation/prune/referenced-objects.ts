import { SalvageError } from '../../errors/salvage-error.ts';
import { asBuffer } from '../../bytes/bytes.ts';
import type { SnapshotId } from '../../repository/ids.ts';
import { roleOf, snapshotFileName } from '../../repository/layout.ts';
import { limits } from '../../repository/limits.ts';
import { decodeChecksums, type Checksums } from '../../repository/snapshot/checksums.ts';
import type { Storage } from '../../storage/storage.ts';
import { prefetch } from '../copy/prefetch.ts';
import { listKeeperRecords, readUncheckedRecord } from '../keeper/removal-marks.ts';
import type { StoredSnapshots } from '../open-repository.ts';
import { readBounded, readRequired } from '../reading/read-object.ts';

/** Lists of up to 32 MiB that are on their way while one is looked at. */
const listsAhead = 4;

/**
 * The digests of all packs and index objects that any SHA256SUMS lists, whoever wrote it, signed or not yet; and of those
 * that stand for one of them, or for a root.age, by what any record says.
 * @throws damaged if the list of a committed snapshot cannot be read: nobody can tell what it needs
 */
export async function readReferencedObjects(
  storage: Storage,
  { committed, unfinished }: StoredSnapshots,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const referenced = new Set<string>();
  const ids = committed.map(({ id }) => id);
  for await (const [, { packs, indexes, root }] of prefetch(ids, listsAhead, (id) =>
    readList(storage, id, signal),
  )) {
    signal.throwIfAborted();
    for (const digest of packs) referenced.add(digest);
    for (const digest of indexes) referenced.add(digest);
    referenced.add(root);
  }
  for (const id of unfinished) {
    const bytes = await readBounded(storage, snapshotFileName(id, 'SHA256SUMS'), limits.checksums, signal);
    for (const digest of bytes ? looselyListed(bytes) : []) referenced.add(digest);
  }
  // A record that nobody signed, or that is none, costs no more than the room for what it names.
  for (const id of await listKeeperRecords(storage, signal)) {
    const record = await readUncheckedRecord(storage, id, signal);
    if (record?.action !== 'rewrapped') continue;
    for (const [from, to] of record.objects) if (referenced.has(from)) referenced.add(to);
  }
  return referenced;
}

async function readList(storage: Storage, id: SnapshotId, signal: AbortSignal): Promise<Checksums> {
  const name = snapshotFileName(id, 'SHA256SUMS');
  try {
    return decodeChecksums(await readRequired(storage, name, limits.checksums, signal), id);
  } catch (error) {
    if (!(error instanceof SalvageError) || error.code !== 'damaged') throw error;
    throw new SalvageError('damaged', `Cannot tell what snapshot ${id} still needs: ${stateOf(error)}`, {
      hint: 'salvage verify tells more. Nothing is removed until the list is back, or the snapshot is gone.',
      cause: error,
    });
  }
}

/** A list that may have been cut short: every name in it counts. */
function* looselyListed(bytes: Uint8Array): Generator<string> {
  for (const line of asBuffer(bytes).toString('latin1').split('\n')) {
    const role = roleOf(line.slice(66));
    if (role?.kind === 'pack' || role?.kind === 'index') yield role.id;
  }
}

/** An unfinished snapshot that came to nothing: a later run has committed its number, or a higher one. */
export function isSuperseded(id: SnapshotId, newestCommitted: SnapshotId | undefined): boolean {
  return newestCommitted !== undefined && newestCommitted.slice(0, 8) >= id.slice(0, 8);
}

function stateOf({ message }: SalvageError): string {
  return message.replace(/^Cannot trust "/, '"');
}
