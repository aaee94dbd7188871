import { createHash } from 'node:crypto';
import { wrapAgain } from '../../age/envelope.ts';
import { parseHeader, verifyHeaderMac } from '../../age/header.ts';
import { parseIdentity } from '../../age/identity-lines.ts';
import type { Identity, Recipient } from '../../age/recipient.ts';
import type { Clock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { damagedObject } from '../../repository/damage.ts';
import type { LockPolicy } from '../../repository/host-configuration.ts';
import { sequenceOf, type ObjectDigest, type SnapshotId } from '../../repository/ids.ts';
import type { RewrappedObject } from '../../repository/keeper-record.ts';
import {
  digestInName,
  indexName,
  indexPrefix,
  packName,
  packsPrefix,
  snapshotFileName,
} from '../../repository/layout.ts';
import { limits } from '../../repository/limits.ts';
import { fetchSync, fromBytes } from '../../repository/pack/fetch.ts';
import { PackReader } from '../../repository/pack/pack-reader.ts';
import type { Storage } from '../../storage/storage.ts';
import type { KeeperSession } from '../keeper/keeper-session.ts';
import { listKeeperRecords } from '../keeper/removal-marks.ts';
import { requireObjectLock, retentionFrom } from '../lock/lock-policy.ts';
import { listSnapshots } from '../open-repository.ts';
import { openSnapshot } from '../open-snapshot.ts';
import { readDigested } from '../reading/read-object.ts';
import { RewrappedObjects, type RewrapMap } from '../reading/rewrapped-objects.ts';
import { SealedObjects, type OpenedObject } from '../reading/sealed-objects.ts';
import {
  readSignedSnapshot,
  snapshotTime,
  type SignedSnapshot,
  type TrustedSigners,
} from '../reading/signed-snapshot.ts';
import { recipientsId } from './recipients-id.ts';

export interface RewrapOptions {
  readonly storage: Storage;
  /** Of the restorer, who writes records as a keeper does; it has read those that are there. */
  readonly session: KeeperSession;
  /** The hosts whose snapshots are rewrapped. */
  readonly trusted: TrustedSigners;
  /** They open the objects as they are. */
  readonly identities: readonly Identity[];
  /** As written for -r, and what they mean, for whom the objects are to be. */
  readonly recipientTexts: readonly string[];
  readonly recipients: readonly Recipient[];
  /** Only what snapshots with a lower sequence number need: the later ones are for the new recipients already. */
  readonly before?: number | undefined;
  readonly lock?: LockPolicy | undefined;
  /** Look and count, and store nothing. */
  readonly dryRun?: boolean;
  /** So much is stored before a record says where it is; a run that is ended repeats no more. */
  readonly recordEvery?: { readonly objects: number; readonly bytes: number };
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface RewrapObserver {
  /** Could not be rewrapped: the run goes on with the rest. */
  onTrouble(message: string): void;
  onNotice(message: string): void;
  onTotal(bytes: number, objects: number): void;
  onProgress(bytes: number, objects: number): void;
}

export interface RewrapResult {
  /** Rewrapped by this run, or with `dryRun` to be. */
  readonly objects: number;
  readonly bytes: number;
  /** For these recipients since an earlier run. */
  readonly already: number;
  /** Opened by none of the identities: made for others, or for the new recipients already. */
  readonly unopened: number;
  /** Damaged, or of snapshots that are not to be trusted. Each was told. */
  readonly troubles: number;
}

/** An object that a signed list names. */
interface ListedObject {
  readonly kind: 'pack' | 'index' | 'root';
  readonly name: string;
  readonly digest: ObjectDigest;
  readonly snapshot: SignedSnapshot;
}

interface NewObject {
  readonly name: string;
  readonly digest: ObjectDigest;
  readonly body: readonly Uint8Array[];
}

const defaultRecordEvery = { objects: 1024, bytes: 4 * 1024 ** 3 };

/**
 * Stores the objects of a repository once more for other recipients: the same payload under a header of their own. Nothing
 * that is there is changed or removed, and whoever could open it still can. One object at a time is held, of 128 MiB at
 * most. What an earlier run has recorded is passed over.
 * @throws no-identity-match if no root.age opens; bad-key for recipients that cannot stand together; failed, damaged
 */
export async function rewrap(options: RewrapOptions, observer: RewrapObserver): Promise<RewrapResult> {
  return await new Rewrapping(options, observer).run();
}

class Rewrapping {
  readonly #options: RewrapOptions;
  readonly #observer: RewrapObserver;
  readonly #objects: SealedObjects;
  /** Where everything is that was rewrapped before, for whomever. */
  readonly #known: RewrapMap;
  /** Sizes of packs and index objects, by name. */
  readonly #sizes = new Map<string, number>();
  /** For index objects, besides the recipients: the key of the host that made them. */
  readonly #indexKeys = new Map<SnapshotId, readonly Recipient[]>();
  #done: RewrappedObject[] = [];
  #unrecordedBytes = 0;
  #recipientsId = '';
  #count = { objects: 0, bytes: 0, already: 0, unopened: 0, troubles: 0 };

  constructor(options: RewrapOptions, observer: RewrapObserver) {
    this.#options = options;
    this.#observer = observer;
    const { storage, session, identities, signal } = options;
    this.#known = session.rewrapped;
    const rewrapped = RewrappedObjects.known(storage, this.#known);
    this.#objects = new SealedObjects(storage, identities, signal, rewrapped);
  }

  async run(): Promise<RewrapResult> {
    const {
      storage,
      session,
      recipients,
      recipientTexts,
      lock,
      dryRun = false,
      clock,
      signal,
    } = this.#options;
    // Refuses what cannot stand together before anything is read.
    await wrapAgain(new Uint8Array(16), recipients);
    await this.#checkChain();
    if (lock) requireObjectLock(storage).lockNew(retentionFrom(lock, clock.now()));
    const snapshots = await this.#readSnapshots();
    for (const prefix of [packsPrefix, indexPrefix])
      for await (const { name, sizeBytes } of storage.list(prefix, signal)) this.#sizes.set(name, sizeBytes);
    this.#objects.expect(snapshots.map(({ id }) => snapshotFileName(id, 'root.age')));
    const seed = await this.#openRoots(snapshots);
    if (!seed) return this.#count;
    this.#recipientsId = recipientsId(seed, recipientTexts);
    const done = session.rewrappedFor(this.#recipientsId);
    const listed = this.#listedIn(snapshots);
    const pending = listed.filter(({ kind, digest }) => {
      const other = done.get(digest);
      return other === undefined || !this.#sizes.has(nameOf(kind, other));
    });
    this.#count.already = listed.length - pending.length;
    const total = pending.reduce((sum, object) => sum + this.#sizeOf(object), 0);
    this.#observer.onTotal(total, pending.length);
    if (dryRun) return { ...this.#count, objects: pending.length, bytes: total };
    this.#objects.expect(pending.map(({ name }) => name));
    for (const object of pending) {
      signal.throwIfAborted();
      await this.#rewrap(object);
      this.#observer.onProgress(this.#sizeOf(object), 1);
      const { objects, bytes } = this.#options.recordEvery ?? defaultRecordEvery;
      if (this.#done.length >= objects || this.#unrecordedBytes >= bytes) await this.#record();
    }
    await this.#record();
    return this.#count;
  }

  /** Those that a trusted host signed, from the oldest on. */
  async #readSnapshots(): Promise<SignedSnapshot[]> {
    const { storage, session, trusted, before = Infinity, signal } = this.#options;
    const { committed } = await listSnapshots(storage, signal);
    const found: SignedSnapshot[] = [];
    let newest = new Date(0);
    for (const { id } of committed) {
      if (sequenceOf(id) >= before || session.forgotten.get(sequenceOf(id))?.id === id) continue;
      try {
        const made = snapshotTime(id);
        if (made > newest) newest = made;
        found.push(await readSignedSnapshot(storage, id, trusted, newest, signal));
      } catch (error) {
        this.#trouble(error);
      }
    }
    return found;
  }

  /** Reads what only the private half of each snapshot tells. Returns the chunker seed of the oldest that opens. */
  async #openRoots(snapshots: readonly SignedSnapshot[]): Promise<Uint8Array | undefined> {
    const { storage, recipients, signal } = this.#options;
    let seed: Uint8Array | undefined;
    let unopened: unknown;
    let isTold = false;
    for (const signed of snapshots) {
      try {
        const { root } = await openSnapshot(storage, signed, this.#objects, signal);
        seed ??= root.chunkerSeed;
        const indexKey = (await parseIdentity(root.indexKey).recipients?.()) ?? [];
        try {
          await wrapAgain(new Uint8Array(16), [...recipients, ...indexKey]);
          this.#indexKeys.set(signed.id, indexKey);
        } catch (error) {
          if (!(error instanceof SalvageError) || error.code !== 'bad-key') throw error;
          if (!isTold)
            this.#observer.onNotice(
              'the host cannot read rewrapped index objects: its index key is of another kind than the recipients, and age does not mix them',
            );
          isTold = true;
        }
      } catch (error) {
        if (!(error instanceof SalvageError) || error.code !== 'no-identity-match') this.#trouble(error);
        else unopened ??= error;
      }
    }
    if (!seed && unopened !== undefined) throw unopened;
    return seed;
  }

  /**
   * Each object once, those of the oldest snapshot first; every root.age at the end, since a run that takes this one up may
   * have no other key than this one, and must open one.
   */
  #listedIn(snapshots: readonly SignedSnapshot[]): ListedObject[] {
    const objects = new Map<ObjectDigest, ListedObject>();
    const add = (
      kind: ListedObject['kind'],
      name: string,
      digest: ObjectDigest,
      snapshot: SignedSnapshot,
    ): void => {
      if (!objects.has(digest)) objects.set(digest, { kind, name, digest, snapshot });
    };
    for (const signed of snapshots) {
      const { packs, indexes, root } = signed.checksums;
      for (const digest of packs) add('pack', packName(digest), digest, signed);
      for (const digest of indexes) add('index', indexName(digest), digest, signed);
      add('root', snapshotFileName(signed.id, 'root.age'), root, signed);
    }
    const all = [...objects.values()];
    return [...all.filter(({ kind }) => kind !== 'root'), ...all.filter(({ kind }) => kind === 'root')];
  }

  #sizeOf({ kind, name, digest }: ListedObject): number {
    const other = this.#known.get(digest);
    return this.#sizes.get(name) ?? (other && this.#sizes.get(nameOf(kind, other))) ?? 0;
  }

  async #rewrap(object: ListedObject): Promise<void> {
    const { storage, signal } = this.#options;
    try {
      const made = await this.#make(object);
      await storage.create(made.name, made.body, signal);
      const bytes = made.body.reduce((sum, part) => sum + part.length, 0);
      this.#done.push([object.digest, made.digest]);
      this.#unrecordedBytes += bytes;
      this.#count.objects++;
      this.#count.bytes += bytes;
    } catch (error) {
      if (error instanceof SalvageError && error.code === 'no-identity-match') this.#count.unopened++;
      else this.#trouble(error);
    }
  }

  /** The same payload for the new recipients. @throws damaged unless the object is what the host signed */
  async #make(object: ListedObject): Promise<NewObject> {
    const { storage, recipients, signal } = this.#options;
    const opened = await this.#open(object);
    const actual = opened.name === object.name ? object.digest : digestInName(opened.name)!;
    const bytes = await readDigested(storage, opened.name, limits.storedObject, actual, signal);
    // The key was had from a first reading: it must be the one of these bytes.
    const header = parseHeader(bytes);
    if (!verifyHeaderMac(header, opened.fileKey))
      throw damagedObject(opened.name, 'it is another one than a moment ago');
    const sealed = {
      name: opened.name,
      sizeBytes: bytes.length,
      headerBytes: header.bytes.length,
      fileKey: opened.fileKey,
    };
    // That it ends where it should, and that the key opens it: nothing is signed that nobody could read.
    fetchSync(PackReader.open(sealed), fromBytes(bytes));
    const indexKey = object.kind === 'index' ? (this.#indexKeys.get(object.snapshot.id) ?? []) : [];
    const body = [
      await wrapAgain(opened.fileKey, [...recipients, ...indexKey]),
      bytes.subarray(header.bytes.length),
    ];
    const size = body[0]!.length + body[1]!.length;
    if (size > limits.storedObject)
      throw new SalvageError(
        'failed',
        `Cannot rewrap "${object.name}": for so many recipients it would be larger than an object may be`,
      );
    const hash = createHash('sha256');
    for (const part of body) hash.update(part);
    const digest = hash.digest('hex') as ObjectDigest;
    return { name: nameOf(object.kind, digest), digest, body };
  }

  async #open({ kind, name, digest }: ListedObject): Promise<OpenedObject> {
    const other = this.#known.get(digest);
    if (kind !== 'root' || other === undefined) return await this.#objects.open(name);
    // By its name nobody can tell which root.age this is: SealedObjects cannot find what stands for it.
    try {
      return await this.#objects.open(packName(other));
    } catch (error) {
      if (!(error instanceof SalvageError) || error.code === 'failed') throw error;
      return await this.#objects.open(name);
    }
  }

  /** What was stored so far is durable and can be found from here on. */
  async #record(): Promise<void> {
    const { storage, session, signal } = this.#options;
    if (this.#done.length === 0) return;
    await storage.settle(signal);
    await this.#checkChain();
    await session.record({ action: 'rewrapped', recipients: this.#recipientsId, objects: this.#done });
    this.#done = [];
    this.#unrecordedBytes = 0;
  }

  /** Two that write records at a time would fork their chain. */
  async #checkChain(): Promise<void> {
    const { storage, session, signal } = this.#options;
    const newest = (await listKeeperRecords(storage, signal)).at(-1)?.number ?? 0;
    if (newest <= session.newestNumber) return;
    throw new SalvageError(
      'busy',
      `Cannot record what is rewrapped in "${storage.description}": there are records by a keeper that is not listed, or that is at work just now`,
      {
        hint: 'List its key (--allowed-signers FILE --keeper NAME), or wait for forget and prune to end. What is recorded already is passed over.',
      },
    );
  }

  /** Tells of what is wrong with one object. @throws what is wrong with more than that */
  #trouble(error: unknown): void {
    const isOfObject =
      error instanceof SalvageError &&
      (['damaged', 'bad-signature'].includes(error.code) ||
        (error.code === 'failed' && error.details['object'] !== undefined));
    if (!isOfObject) throw error;
    this.#count.troubles++;
    this.#observer.onTrouble(error.message);
  }
}

function nameOf(kind: ListedObject['kind'], digest: ObjectDigest): string {
  return kind === 'index' ? indexName(digest) : packName(digest);
}
