import { SalvageError } from '../../errors/salvage-error.ts';
import type { ObjectDigest } from '../../repository/ids.ts';
import type { KeeperRecord } from '../../repository/keeper-record.ts';
import { indexName, packName, roleOf } from '../../repository/layout.ts';
import type { Storage } from '../../storage/storage.ts';
import { readKeeperHistory } from '../keeper/keeper-records.ts';
import { listKeeperRecords, readUncheckedRecord } from '../keeper/removal-marks.ts';
import { readRepositoryJson } from '../open-repository.ts';
import type { TrustedSigners } from './document-signature.ts';

/** Whose records of rewrapping are believed. `anybody`: nobody said whose signatures to trust, of snapshots neither. */
export type RewrapTrust = TrustedSigners | 'anybody' | 'nobody';

/** From the digest that a signed list has to that of the object that stands for it now. */
export type RewrapMap = ReadonlyMap<ObjectDigest, ObjectDigest>;

/**
 * Where the content of an object is to be found again that is gone, or was made for recipients of another time
 * (docs/design/format.md "Rewrapped objects"). The records are read once, and only if something is looked for.
 */
export class RewrappedObjects {
  readonly #storage: Storage;
  readonly #trust: RewrapTrust;
  readonly #signal: AbortSignal | undefined;
  #map: Promise<RewrapMap> | undefined;

  constructor(storage: Storage, trust: RewrapTrust, signal?: AbortSignal) {
    this.#storage = storage;
    this.#trust = trust;
    this.#signal = signal;
  }

  /** For who has read the records already. */
  static known(storage: Storage, map: RewrapMap): RewrappedObjects {
    const known = new RewrappedObjects(storage, 'nobody');
    known.#map = Promise.resolve(map);
    return known;
  }

  /** True once something was looked for: it is likely that the next object was rewrapped as well. */
  get isKnown(): boolean {
    return this.#map !== undefined;
  }

  /** The object that stands for this pack or index object now. @throws failed */
  async locate(name: string): Promise<string | undefined> {
    const role = roleOf(name);
    if (role?.kind !== 'pack' && role?.kind !== 'index') return undefined;
    const digest = await this.locateDigest(role.id);
    return digest && (role.kind === 'pack' ? packName(digest) : indexName(digest));
  }

  /** As `locate`, of any object that a signed list has with this digest. */
  async locateDigest(digest: ObjectDigest): Promise<ObjectDigest | undefined> {
    this.#map ??= this.#read();
    return (await this.#map).get(digest);
  }

  async #read(): Promise<RewrapMap> {
    if (this.#trust === 'nobody') return new Map();
    const ids = await listKeeperRecords(this.#storage, this.#signal);
    if (ids.length === 0) return new Map();
    if (this.#trust !== 'anybody') {
      const { id } = await readRepositoryJson(this.#storage, this.#signal);
      const { records } = await readKeeperHistory(this.#storage, id, this.#trust, this.#signal);
      return mapRewrapped(records.map(({ record }) => record));
    }
    const records: KeeperRecord[] = [];
    for (const id of ids) {
      const record = await readUncheckedRecord(this.#storage, id, this.#signal);
      if (record) records.push(record);
    }
    return mapRewrapped(records);
  }
}

/** What later records say counts. */
export function mapRewrapped(records: readonly KeeperRecord[]): RewrapMap {
  const map = new Map<ObjectDigest, ObjectDigest>();
  for (const record of records)
    if (record.action === 'rewrapped') for (const [from, to] of record.objects) map.set(from, to);
  return map;
}

/** True if the error says that an object is gone, damaged or for others: its rewrapped form may serve. */
export function mayBeRewrapped(error: unknown): error is SalvageError {
  return error instanceof SalvageError && ['damaged', 'no-identity-match', 'bad-key'].includes(error.code);
}
