import { randomBytes } from '../../clock/random.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { Identity } from '../../age/recipient.ts';
import { showPath } from '../../posix/target-path.ts';
import type { ObjectDigest, PackId, RepositoryId, SnapshotId } from '../../repository/ids.ts';
import { sequenceOf } from '../../repository/ids.ts';
import {
  digestInName,
  indexName,
  packName,
  packsPrefix,
  roleOf,
  snapshotFileName,
  type SnapshotFile,
} from '../../repository/layout.ts';
import type { SegmentReference } from '../../repository/snapshot/root-json.ts';
import { leadsForward } from '../../repository/tree/forward-link.ts';
import type { ObjectVersion, Storage } from '../../storage/storage.ts';
import { readHandovers, type FoundHandover } from '../handover.ts';
import { forgottenSnapshots } from '../keeper/keeper-records.ts';
import { groupSnapshots, readRepositoryJson } from '../open-repository.ts';
import { openSnapshot } from '../open-snapshot.ts';
import { findByDigest } from '../reading/find-original.ts';
import { describeRemoval, listRemovedSnapshots } from '../reading/removed-snapshots.ts';
import { mapRewrapped, RewrappedObjects, type RewrapMap } from '../reading/rewrapped-objects.ts';
import { SealedObjects } from '../reading/sealed-objects.ts';
import {
  readSignedSnapshot,
  readSnapshotJson,
  snapshotTime,
  type SignedSnapshot,
  type TrustedSigners,
} from '../reading/signed-snapshot.ts';
import { workerCount } from '../worker/worker-count.ts';
import { WorkerPool } from '../worker/worker-pool.ts';
import { BlobReferences } from './blob-references.ts';
import { checkChain, type ChainLink } from './check-chain.ts';
import { checkKeeperRecords, type CheckedRecords } from './check-keeper-records.ts';
import { damagedSnapshots } from './damage-reach.ts';
import type { RememberedHead } from './remembered-heads.ts';
import { troubleKindOf, type Trouble } from './trouble.ts';
import type { VerifyAnswer, VerifyJob } from './verify-messages.ts';

export interface VerifyOptions {
  readonly trusted: TrustedSigners;
  /** Whose records explain what was removed. Without it nothing does. */
  readonly keeper?: TrustedSigners | undefined;
  /** The newest state known of this repository, and what else was seen at this place. */
  readonly remembered: (repository: RepositoryId) => RememberedHead | undefined;
  readonly seenHere: readonly RememberedHead[];
  /** How much of the data to read, from 0 to 1. */
  readonly readShare: number;
  /** With them everything is opened and looked at as well. */
  readonly identities?: readonly Identity[];
  readonly threads?: number;
}

export interface VerifyObserver {
  /** As soon as it is found. */
  onTrouble(trouble: Trouble): void;
  /** What there is to read, when that is known. */
  onTotal(bytes: number, objects: number): void;
  onProgress(bytes: number, objects: number): void;
}

export interface VerifyResult {
  readonly repository: RepositoryId;
  readonly troubles: readonly Trouble[];
  /** Snapshots that are wholly good, as far as was looked. */
  readonly snapshots: number;
  /** Signed ones that need something that is damaged or missing, in order. */
  readonly damagedSnapshots: readonly SnapshotId[];
  /** Removed by a keeper that is trusted, as its signed records say. */
  readonly forgotten: number;
  /** A keeper's records are there, and nobody said whose to trust. */
  readonly recordsUnchecked: boolean;
  /** What the host says of its signing keys. Nothing of it was believed. */
  readonly handovers: readonly FoundHandover[];
  /** Left by runs that did not come to their end, and harmless. */
  readonly unfinished: number;
  /** Objects that the snapshots need. */
  readonly objects: number;
  /** Packs and index objects that no snapshot lists: harmless, prune removes them. */
  readonly unlisted: number;
  readonly objectsRead: number;
  readonly bytesRead: number;
  /** Blobs whose own SHA-256 was compared. */
  readonly blobs: number;
  /** The newest good snapshot; what to remember if there are no troubles. */
  readonly head: Omit<RememberedHead, 'places'> | undefined;
}

/** Hands a job to a worker as soon as one is free; `done` when its answer has been taken. */
type RunJob = (
  name: string,
  job: VerifyJob,
  transfer?: readonly ArrayBuffer[],
) => Promise<{ readonly done: Promise<void> }>;

/** References are gathered up to this size, then their packs are opened. */
const mostReferenceBytes = 24 * 1024 * 1024;

/**
 * Checks a repository without believing anything in it: signatures, chain, what is listed and not there, what is there and
 * not as listed. Troubles are collected and do not stop it.
 * @throws no-repository; failed if storage cannot be listed; no-identity-match; interrupted
 */
export async function verify(
  storage: Storage,
  options: VerifyOptions,
  observer: VerifyObserver,
  signal?: AbortSignal,
): Promise<VerifyResult> {
  return await new Verification(storage, options, observer, signal).run();
}

class Verification {
  readonly #storage: Storage;
  readonly #options: VerifyOptions;
  readonly #observer: VerifyObserver;
  readonly #signal: AbortSignal | undefined;
  readonly #troubles: Trouble[] = [];
  /** Sizes of packs and index objects, by name. */
  readonly #stored = new Map<string, number>();
  readonly #snapshotFiles = new Map<SnapshotId, Map<SnapshotFile, number>>();
  #hasRecords = false;
  #hasHandovers = false;
  /** What good snapshots list, by name. */
  readonly #listed = new Map<string, ObjectDigest>();
  /** What stands for objects since a restorer has rewrapped them, by the digest in the signed lists. */
  #rewrapped: RewrapMap = new Map();
  /** Objects that are gone and were rewrapped before, with the name of what stands for each. */
  readonly #replaced = new Map<string, string>();
  /** Objects with which something is wrong, and which are not to be looked at again. */
  readonly #bad = new Set<string>();
  #objectsRead = 0;
  #bytesRead = 0;
  #blobs = 0;

  constructor(
    storage: Storage,
    options: VerifyOptions,
    observer: VerifyObserver,
    signal: AbortSignal | undefined,
  ) {
    this.#storage = storage;
    this.#options = options;
    this.#observer = observer;
    this.#signal = signal;
  }

  async run(): Promise<VerifyResult> {
    const { id: repository } = await readRepositoryJson(this.#storage, this.#signal);
    this.#comparePlace(repository);
    await this.#list();
    const { committed, unfinished } = groupSnapshots(this.#snapshotFiles);
    const signed: SignedSnapshot[] = [];
    const links: ChainLink[] = [];
    let newest = new Date(0);
    const keeper = await this.#readKeeperRecords(repository);
    const forgotten = forgottenSnapshots(keeper?.records ?? []);
    this.#rewrapped = mapRewrapped(keeper?.records.map(({ record }) => record) ?? []);
    const isForgotten = (id: SnapshotId): boolean => forgotten.get(sequenceOf(id))?.id === id;
    const removed = await this.#listRemoved();
    const all = [...committed.map(({ id }) => id), ...removed.keys()].sort();
    for (const id of all) {
      this.#signal?.throwIfAborted();
      // Still there if its keeper did not come to its end, or somebody brought it back: its packs may be gone.
      if (isForgotten(id)) continue;
      const trouble = removed.get(id);
      // Of what was removed, what cannot be read any more is merely missing, and the chain tells.
      const found = await this.#readSnapshot(id, repository, newest, !trouble);
      if (!found) continue;
      if (trouble) this.#find(trouble);
      signed.push(found.signed);
      links.push(found.link);
      newest = later(newest, snapshotTime(id));
    }
    // A snapshot that is there and not good has been named already: it is not missing as well.
    const good = new Set(links.map(({ id }) => id));
    const told = new Set(
      committed.filter(({ id }) => !good.has(id) && !isForgotten(id)).map(({ id }) => sequenceOf(id)),
    );
    const chain = checkChain(links, this.#options.remembered(repository), { told, forgotten });
    for (const trouble of chain) this.#find(trouble);
    for (const { id, checksums } of signed) {
      for (const pack of checksums.packs) await this.#expect(packName(pack), pack, id, packName);
      for (const index of checksums.indexes) await this.#expect(indexName(index), index, id, indexName);
      const root = this.#rewrapped.get(checksums.root);
      if (root !== undefined) await this.#expect(packName(root), root, id, packName);
    }
    await this.#readObjects(signed);
    for (const version of this.#storage.versions?.preferred ?? []) this.#findSuperseded(version, removed);
    const head = links.at(-1);
    return {
      repository,
      troubles: this.#troubles,
      snapshots: signed.length,
      damagedSnapshots: damagedSnapshots(signed, this.#troubles),
      forgotten: forgotten.size,
      handovers: this.#hasHandovers
        ? await readHandovers(this.#storage, repository, this.#options.trusted, this.#signal)
        : [],
      recordsUnchecked: this.#hasRecords && !keeper,
      unfinished: unfinished.filter((id) => !removed.has(id) && !isForgotten(id)).length,
      objects: this.#listed.size + 2 * signed.length,
      unlisted: [...this.#stored.keys()].filter((name) => !this.#listed.has(name)).length,
      objectsRead: this.#objectsRead,
      bytesRead: this.#bytesRead,
      blobs: this.#blobs,
      head: head && {
        repository,
        snapshot: head.id,
        sequence: head.sequence,
        digest: head.digest,
        ...(keeper?.head && { keeper: keeper.head }),
      },
    };
  }

  // ---- Signatures, chain, existence

  #comparePlace(repository: RepositoryId): void {
    const { seenHere } = this.#options;
    const others = seenHere.filter((head) => head.repository !== repository);
    if (others.length === 0 || others.length < seenHere.length) return;
    this.#find({
      kind: 'foreign',
      message: `This is the repository ${repository}. Here was seen before ${others.map((head) => head.repository).join(', ')}: it was replaced.`,
    });
  }

  async #readKeeperRecords(repository: RepositoryId): Promise<CheckedRecords | undefined> {
    const { keeper, remembered } = this.#options;
    if (!keeper) return undefined;
    const known = remembered(repository)?.keeper;
    const checked = await checkKeeperRecords(this.#storage, repository, keeper, known, this.#signal);
    for (const trouble of checked.troubles) this.#find(trouble);
    return checked;
  }

  async #list(): Promise<void> {
    for await (const { name, sizeBytes } of this.#storage.list('', this.#signal)) {
      const role = roleOf(name);
      if (role?.kind === 'pack' || role?.kind === 'index') this.#stored.set(name, sizeBytes);
      else if (role?.kind === 'keeper') this.#hasRecords = true;
      else if (role?.kind === 'handover') this.#hasHandovers = true;
      else if (role?.kind === 'snapshot') {
        let files = this.#snapshotFiles.get(role.id);
        if (!files) this.#snapshotFiles.set(role.id, (files = new Map()));
        files.set(role.file, sizeBytes);
      }
    }
  }

  /**
   * A key must have been valid when the snapshot was made, by its own word, but not earlier than the snapshots before it
   * say: whoever stole a key that has run out cannot date a forgery back.
   */
  async #readSnapshot(
    id: SnapshotId,
    repository: RepositoryId,
    notBefore: Date,
    isListed: boolean,
  ): Promise<{ readonly signed: SignedSnapshot; readonly link: ChainLink } | undefined> {
    try {
      const time = later(notBefore, snapshotTime(id));
      const signed = await readSignedSnapshot(this.#storage, id, this.#options.trusted, time, this.#signal);
      const json = await readSnapshotJson(this.#storage, signed, this.#signal);
      if (json.repository !== repository) {
        const message = `Snapshot ${id} belongs to another repository, ${json.repository}.`;
        this.#find({ kind: 'foreign', snapshot: id, message });
        return undefined;
      }
      const { sequence, previous } = json;
      return { signed, link: { id, sequence, digest: signed.digest, previous } };
    } catch (error) {
      const kind = troubleKindOf(error, 'damaged-snapshot');
      if (isListed || kind === 'unreadable')
        this.#find({ kind, snapshot: id, message: (error as SalvageError).message });
      return undefined;
    }
  }

  /** The object must be there; if it was rewrapped, what stands for it must be, and it itself may be gone. */
  async #expect(
    name: string,
    digest: ObjectDigest,
    snapshot: SnapshotId,
    nameOf: (digest: ObjectDigest) => string,
  ): Promise<void> {
    if (this.#listed.has(name) || this.#replaced.has(name)) return;
    const size = this.#stored.get(name);
    const other = this.#rewrapped.get(digest);
    if (other !== undefined && other !== digest) {
      if (size === undefined && this.#stored.has(nameOf(other))) this.#replaced.set(name, nameOf(other));
      await this.#expect(nameOf(other), other, snapshot, nameOf);
      if (this.#replaced.has(name)) return;
    }
    this.#listed.set(name, digest);
    if (size !== undefined && size > 0) return;
    if (await findByDigest(this.#storage, name, digest, this.#signal)) return;
    this.#bad.add(name);
    const message =
      size === 0
        ? `"${name}" is empty. Snapshot ${snapshot} needs it.`
        : `"${name}" is missing. Snapshot ${snapshot} needs it.`;
    this.#find({ kind: size === 0 ? 'truncated-object' : 'missing-object', object: name, snapshot, message });
  }

  // ---- Older versions, where storage keeps them

  async #listRemoved(): Promise<Map<SnapshotId, Trouble>> {
    const removed = await listRemovedSnapshots(this.#storage, this.#signal);
    return new Map(
      removed.map((snapshot) => {
        const message = `${describeRemoval(snapshot)}.`;
        return [snapshot.id, { kind: 'removed-snapshot', snapshot: snapshot.id, message }];
      }),
    );
  }

  /** An older version had to stand in: what is there now is not what was signed. */
  #findSuperseded({ name, superseded }: ObjectVersion, removed: ReadonlyMap<SnapshotId, Trouble>): void {
    const role = roleOf(name);
    if (role?.kind === 'snapshot' && removed.has(role.id)) return;
    const what = superseded?.by === 'removal' ? 'removed' : 'overwritten';
    const when = superseded?.at ? ` at ${superseded.at.toISOString()}` : '';
    const message = `"${name}" was ${what}${when}. What was signed is still there as an older version, which restore reads.`;
    this.#find({ kind: 'superseded-object', object: name, message });
  }

  // ---- Reading

  async #readObjects(signed: readonly SignedSnapshot[]): Promise<void> {
    const { identities, readShare } = this.#options;
    const sample = chooseSample(this.#listed.keys(), readShare);
    const toRead = [...sample].filter((name) => !this.#bad.has(name));
    // A snapshot's own root is read in any case: nothing can be restored without it.
    const roots = signed
      .map(({ id, checksums }) => ({ id, name: snapshotFileName(id, 'root.age'), digest: checksums.root }))
      .filter(
        ({ id, digest }) =>
          this.#snapshotFiles.get(id)?.has('root.age') !== false || !this.#rewrapped.has(digest),
      );
    const bytes = toRead.reduce((sum, name) => sum + (this.#stored.get(name) ?? 0), 0);
    this.#observer.onTotal(bytes, toRead.length + roots.length);
    await using pool = new WorkerPool<VerifyJob, VerifyAnswer>({
      module: new URL('./verify-worker.ts', import.meta.url),
      threads: workerCount(this.#storage, this.#options.threads),
      settings: undefined,
      storage: this.#storage,
      ...(this.#signal && { signal: this.#signal }),
    });
    const answers = new Set<Promise<void>>();
    const run: RunJob = async (name, job, transfer) => {
      await pool.ready();
      const answer = this.#take(name, job.digest, pool.run(job, transfer)).finally(() =>
        answers.delete(answer),
      );
      answer.catch(() => {});
      answers.add(answer);
      return { done: answer };
    };
    for (const { name, digest } of roots) await run(name, { kind: 'hash', name, digest });
    if (!identities)
      for (const name of toRead) await run(name, { kind: 'hash', name, digest: this.#listed.get(name)! });
    else {
      await Promise.all(answers);
      await this.#openAll(signed, new Set(toRead), run);
    }
    await Promise.all(answers);
  }

  async #take(name: string, digest: ObjectDigest, answer: Promise<VerifyAnswer>): Promise<void> {
    const { bytes, blobs, troubles } = await answer;
    this.#bytesRead += bytes;
    this.#blobs += blobs;
    if (bytes > 0) this.#objectsRead++;
    if (troubles.length > 0) {
      this.#bad.add(name);
      const isFound = await findByDigest(this.#storage, name, digest, this.#signal);
      for (const { kind, message, found } of isFound ? [] : troubles) {
        const other = found && this.#nameOf(found);
        this.#find(
          other
            ? { kind: 'swapped-object', message: `"${name}" holds what belongs to "${other}".`, object: name }
            : { kind, message, object: name },
        );
      }
    }
    this.#observer.onProgress(bytes, 1);
  }

  /** The listed object with this content, if there is one. */
  #nameOf(digest: ObjectDigest): string | undefined {
    return [packName(digest), indexName(digest)].find((name) => this.#listed.has(name));
  }

  // ---- With an identity

  /** Every tree segment, every entry, every range; packs are opened as references to them have come together. */
  async #openAll(signed: readonly SignedSnapshot[], toRead: ReadonlySet<string>, run: RunJob): Promise<void> {
    const rewrapped = RewrappedObjects.known(this.#storage, this.#rewrapped);
    const objects = new SealedObjects(this.#storage, this.#options.identities!, this.#signal, rewrapped);
    const standIns = new Set([...this.#rewrapped].flatMap((pair) => pair));
    objects.expect([...signed.map(({ id }) => snapshotFileName(id, 'root.age')), ...toRead]);
    const hashed = new Set<string>();
    const references = new BlobReferences();
    const open = async (pack: PackId, blobs: Uint8Array<ArrayBuffer>): Promise<void> => {
      const name = this.#replaced.get(packName(pack)) ?? packName(pack);
      if (!toRead.has(name) || this.#bad.has(name)) return;
      try {
        const opened = await objects.open(packName(pack), this.#stored.get(packName(pack)));
        const { name: actual, sizeBytes, headerBytes, fileKey } = opened;
        const object = { name: actual, sizeBytes, headerBytes, fileKey };
        const whole = !hashed.has(actual);
        hashed.add(actual);
        const digest = digestInName(actual) ?? pack;
        await run(actual, { kind: 'open', object, digest, blobs, whole }, [blobs.buffer]);
      } catch (error) {
        if (!(error instanceof SalvageError)) throw error;
        if (error.code === 'failed')
          return this.#find({ kind: 'unreadable', object: name, message: error.message });
        if (!['damaged', 'no-identity-match'].includes(error.code)) throw error;
        // What its own SHA-256 tells is plainer than what the header looks like.
        hashed.add(name);
        const { done } = await run(name, { kind: 'hash', name, digest: digestInName(name) ?? pack });
        await done;
        if (!this.#bad.has(name))
          this.#find({ kind: 'damaged-content', object: name, message: error.message });
      }
    };
    const flush = async (): Promise<void> => {
      for (const [pack, blobs] of references.take()) await open(pack, blobs);
    };
    const seen = new Set<string>();
    for (const snapshot of signed) {
      await this.#readTree(snapshot, objects, seen, references, flush);
    }
    await flush();
    for (const name of toRead) {
      const id = digestInName(name);
      if (hashed.has(name) || this.#bad.has(name) || !id) continue;
      // Listed and not referred to: packs that hold nothing for these snapshots, index objects, and of two that have the
      // same content the one that was not opened.
      if (name.startsWith(packsPrefix) && !standIns.has(id)) await open(id, new Uint8Array(0));
      else await run(name, { kind: 'hash', name, digest: id });
    }
  }

  async #readTree(
    signed: SignedSnapshot,
    objects: SealedObjects,
    seen: Set<string>,
    references: BlobReferences,
    flush: () => Promise<void>,
  ): Promise<void> {
    const root = snapshotFileName(signed.id, 'root.age');
    if (this.#bad.has(root)) return;
    try {
      const snapshot = await openSnapshot(this.#storage, signed, objects, this.#signal);
      const reading = {
        onLost: ({
          segment,
          error,
        }: {
          readonly segment: SegmentReference;
          readonly error: unknown;
        }): void => {
          const name = packName(segment.pack);
          if (!(error instanceof SalvageError) || error.code === 'interrupted') throw error;
          if (!this.#bad.has(name))
            this.#find({
              kind: troubleKindOf(error, 'damaged-content'),
              object: name,
              snapshot: signed.id,
              message: error.message,
            });
        },
        ...(this.#signal && { signal: this.#signal }),
      };
      for await (const { segment, records } of snapshot.readTree(reading)) {
        const key = `${segment.pack}:${segment.offset}`;
        if (seen.has(key)) continue;
        seen.add(key);
        references.add(segment.pack, segment.offset, segment.length, segment.digest);
        for (const { entry, ranges } of records) {
          references.addRanges(ranges, snapshot.packs);
          if (entry && leadsForward(entry))
            this.#find({
              kind: 'damaged-content',
              object: packName(segment.pack),
              snapshot: signed.id,
              message: `The hard link "${showPath(entry.path)}" in "${packName(segment.pack)}" leads to what would come after it.`,
            });
        }
        if (references.bytes > mostReferenceBytes) await flush();
      }
      for (let number = 0; number < snapshot.packs.size; number++) {
        const pack = snapshot.packs.idOf(number);
        if (pack && !snapshot.lists(pack))
          this.#find({
            kind: 'damaged-content',
            object: packName(pack),
            snapshot: signed.id,
            message: `The tree of snapshot ${signed.id} refers to "${packName(pack)}", which its signed list does not have.`,
          });
      }
    } catch (error) {
      if (
        !(error instanceof SalvageError) ||
        ['interrupted', 'no-identity-match', 'bad-key'].includes(error.code)
      )
        throw error;
      this.#find({
        kind: troubleKindOf(error, 'damaged-content'),
        snapshot: signed.id,
        object: root,
        message: error.message,
      });
    }
  }

  #find(trouble: Trouble): void {
    this.#troubles.push(trouble);
    this.#observer.onTrouble(trouble);
  }
}

function later(a: Date, b: Date): Date {
  return a > b ? a : b;
}

/** Each object with the probability `share`; another choice every time, so that after some runs everything was read. */
function chooseSample(names: Iterable<string>, share: number): Set<string> {
  const all = [...names];
  if (share >= 1) return new Set(all);
  if (share <= 0) return new Set();
  const random = randomBytes(4 * all.length);
  const view = new DataView(random.buffer);
  const chosen = all.filter((_, index) => view.getUint32(4 * index, true) < share * 2 ** 32);
  return new Set(chosen.length === 0 ? all.slice(0, 1) : chosen);
}
