import { SalvageError } from '../../errors/salvage-error.ts';
import type { PackId, SnapshotId } from '../../repository/ids.ts';
import { decodeKeeperRecord, type KeeperRecord } from '../../repository/keeper-record.ts';
import { keeperFileName, keeperPrefix, roleOf, type KeeperRecordId } from '../../repository/layout.ts';
import { limits } from '../../repository/limits.ts';
import type { Storage } from '../../storage/storage.ts';
import { readRequired } from '../reading/read-object.ts';

/**
 * What a keeper is about to remove, as whoever stores a snapshot must know it (docs/design/format.md "Removing"). Records
 * are believed here without a look at their signatures: a false mark only costs that blobs are stored once more, and
 * whoever can take true ones away can take packs away as well.
 */
export class RemovalMarks {
  readonly #storage: Storage;
  /** Names of the records that were there. */
  readonly #seen: ReadonlySet<string>;
  readonly #open: Marked;

  private constructor(storage: Storage, seen: ReadonlySet<string>, open: Marked) {
    this.#storage = storage;
    this.#seen = seen;
    this.#open = open;
  }

  /** As it stands now. To be read before storage is asked which packs there are. @throws failed if storage cannot be asked */
  static async read(storage: Storage, signal?: AbortSignal): Promise<RemovalMarks> {
    const ids = await listKeeperRecords(storage, signal);
    return new RemovalMarks(storage, new Set(ids.map(nameOf)), await readOpen(storage, ids, signal));
  }

  /** True if no new snapshot may refer to the pack, although it may still be there. */
  has(pack: PackId): boolean {
    return this.#open.packs.has(pack);
  }

  /** True if this unfinished snapshot is to go: nobody may finish it before it is gone. */
  hasUnfinished(snapshot: SnapshotId): boolean {
    return this.#open.unfinished.has(snapshot);
  }

  /**
   * The last look before a signature is stored, to be taken when the snapshot's SHA256SUMS is durable: a keeper that
   * marks later sees that list, a keeper that has marked before is seen here.
   * @throws failed if one of the packs, or the snapshot itself, is no longer to be referred to
   */
  async confirm(snapshot: SnapshotId, packs: readonly PackId[], signal?: AbortSignal): Promise<void> {
    const ids = await listKeeperRecords(this.#storage, signal);
    const isNew = ids.filter((id) => !this.#seen.has(nameOf(id)));
    if (isNew.length === 0) return;
    const open = await readOpen(this.#storage, ids, signal);
    // What was marked since the run began may be gone already, and its record closed.
    const recent = await readAll(this.#storage, isNew, signal);
    const gone = packs.filter((pack) => open.packs.has(pack) || recent.packs.has(pack));
    if (gone.length === 0 && !open.unfinished.has(snapshot) && !recent.unfinished.has(snapshot)) return;
    throw new SalvageError(
      'failed',
      `Cannot finish snapshot ${snapshot}: while it was made, a keeper has marked ${gone.length} of the packs that it refers to for removal`,
      {
        hint: 'Run it again: what this run has stored is taken up, and the rest is stored anew.',
        details: { markedPacks: gone.length },
      },
    );
  }
}

/** True if a run has failed only because of what a keeper marked meanwhile: another one will know. */
export function isMarkedMeanwhile(error: unknown): boolean {
  return error instanceof SalvageError && error.details['markedPacks'] !== undefined;
}

/** The records that have a signature, in order of their names; nothing is known of whose it is. */
export async function listKeeperRecords(storage: Storage, signal?: AbortSignal): Promise<KeeperRecordId[]> {
  const files = new Map<string, { readonly id: KeeperRecordId; json: boolean; signed: boolean }>();
  for await (const { name } of storage.list(keeperPrefix, signal)) {
    const role = roleOf(name);
    if (role?.kind !== 'keeper') continue;
    const key = nameOf(role.id);
    const entry = files.get(key) ?? { id: role.id, json: false, signed: false };
    entry[role.file === 'json' ? 'json' : 'signed'] = true;
    files.set(key, entry);
  }
  return [...files.values()].filter(({ json, signed }) => json && signed).map(({ id }) => id);
}

/** True if the newest record, whoever wrote it, says that the one of this number is open. */
export async function isOpen(
  storage: Storage,
  number: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const ids = await listKeeperRecords(storage, signal);
  const newest = ids.filter((id) => id.number === ids.at(-1)!.number);
  const records = await Promise.all(newest.map((id) => readUncheckedRecord(storage, id, signal)));
  return records.length > 0 && records.every((record) => record?.open.includes(number));
}

interface Marked {
  readonly packs: ReadonlySet<PackId>;
  readonly unfinished: ReadonlySet<SnapshotId>;
}

/** What the open records name. Where the newest cannot be read all count as open. */
async function readOpen(
  storage: Storage,
  ids: readonly KeeperRecordId[],
  signal: AbortSignal | undefined,
): Promise<Marked> {
  const newest = ids.at(-1)?.number;
  const open = new Set<number>();
  for (const id of ids.filter(({ number }) => number === newest)) {
    const record = await readUncheckedRecord(storage, id, signal);
    if (!record) return await readAll(storage, ids, signal);
    for (const number of record.open) open.add(number);
  }
  return await readAll(
    storage,
    ids.filter(({ number }) => open.has(number)),
    signal,
  );
}

async function readAll(
  storage: Storage,
  ids: readonly KeeperRecordId[],
  signal: AbortSignal | undefined,
): Promise<Marked> {
  const marked = { packs: new Set<PackId>(), unfinished: new Set<SnapshotId>() };
  for (const id of ids) {
    const record = await readUncheckedRecord(storage, id, signal);
    if (!record || record.action === 'forget' || record.action === 'rewrapped') continue;
    for (const pack of record.packs) marked.packs.add(pack);
    for (const snapshot of record.unfinished) marked.unfinished.add(snapshot);
  }
  return marked;
}

/** A record, whoever wrote it; undefined if it is none. @throws failed */
export async function readUncheckedRecord(
  storage: Storage,
  id: KeeperRecordId,
  signal: AbortSignal | undefined,
): Promise<KeeperRecord | undefined> {
  const name = keeperFileName(id, 'json');
  try {
    return decodeKeeperRecord(await readRequired(storage, name, limits.keeperRecord, signal), id);
  } catch (error) {
    if (error instanceof SalvageError && error.code === 'damaged') return undefined;
    throw error;
  }
}

function nameOf(id: KeeperRecordId): string {
  return keeperFileName(id, 'json');
}
