import type { Identity } from '../../age/recipient.ts';
import type { SalvageError } from '../../errors/salvage-error.ts';
import { sequenceOf, type RepositoryId, type SnapshotId } from '../../repository/ids.ts';
import { roleOf } from '../../repository/layout.ts';
import type { ObjectVersion, Storage } from '../../storage/storage.ts';
import { readHandovers, type FoundHandover } from '../handover.ts';
import { forgottenSnapshots } from '../keeper/keeper-records.ts';
import { groupSnapshots, readRepositoryJson } from '../open-repository.ts';
import { describeRemoval, listRemovedSnapshots } from '../reading/removed-snapshots.ts';
import { mapRewrapped } from '../reading/rewrapped-objects.ts';
import {
  readSignedSnapshot,
  readSnapshotJson,
  snapshotTime,
  type SignedSnapshot,
  type TrustedSigners,
} from '../reading/signed-snapshot.ts';
import { checkChain, type ChainLink } from './check-chain.ts';
import { checkKeeperRecords, type CheckedRecords } from './check-keeper-records.ts';
import { damagedSnapshots } from './damage-reach.ts';
import { NeededObjects } from './needed-objects.ts';
import { chooseSample, ObjectReading, rootsToRead } from './object-reading.ts';
import type { RememberedHead } from './remembered-heads.ts';
import { listRepository, type RepositoryListing } from './repository-listing.ts';
import { isInShard, type Shard } from '../shard.ts';
import { troubleKindOf, type Trouble } from './trouble.ts';
import { verifyContent } from './verify-content.ts';

export interface VerifyOptions {
  readonly trusted: TrustedSigners;
  /** Whose records explain what was removed. Without it nothing does. */
  readonly keeper?: TrustedSigners | undefined;
  /** The newest state known of this repository, and what else was seen at this place. */
  readonly remembered: (repository: RepositoryId) => RememberedHead | undefined;
  readonly seenHere: readonly RememberedHead[];
  /** How much of the data to read, from 0 to 1. */
  readonly readShare: number;
  /** Of the data, read what is this worker's; everything else is looked at by each. */
  readonly shard?: Shard;
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
    const listing = await listRepository(this.#storage, this.#signal);
    const keeper = await this.#readKeeperRecords(repository);
    const forgotten = forgottenSnapshots(keeper?.records ?? []);
    const removed = await this.#listRemoved();
    const isForgotten = (id: SnapshotId): boolean => forgotten.get(sequenceOf(id))?.id === id;
    const { committed, unfinished } = groupSnapshots(listing.snapshotFiles);
    // One that is forgotten is still there if its keeper did not come to its end, or somebody brought it back: its packs
    // may be gone.
    const ids = committed.map(({ id }) => id).filter((id) => !isForgotten(id));
    const { signed, links } = await this.#readSnapshots(repository, ids, removed, isForgotten);
    // A snapshot that is there and not good has been named already: it is not missing as well.
    const good = new Set(links.map(({ id }) => id));
    const told = new Set(ids.filter((id) => !good.has(id)).map(sequenceOf));
    const chain = checkChain(links, this.#options.remembered(repository), { told, forgotten });
    for (const trouble of chain) this.#find(trouble);
    const rewrapped = mapRewrapped(keeper?.records.map(({ record }) => record) ?? []);
    const needed = new NeededObjects(this.#storage, listing, rewrapped, this.#find, this.#signal);
    for (const snapshot of signed) await needed.addSnapshot(snapshot);
    const read = await this.#readObjects(signed, listing, needed);
    for (const version of this.#storage.versions?.preferred ?? []) this.#findSuperseded(version, removed);
    const head = links.at(-1);
    return {
      repository,
      troubles: this.#troubles,
      snapshots: signed.length,
      damagedSnapshots: damagedSnapshots(signed, this.#troubles),
      forgotten: forgotten.size,
      handovers: listing.hasHandovers
        ? await readHandovers(this.#storage, repository, this.#options.trusted, this.#signal)
        : [],
      recordsUnchecked: listing.hasRecords && !keeper,
      unfinished: unfinished.filter((id) => !removed.has(id) && !isForgotten(id)).length,
      objects: needed.size + 2 * signed.length,
      unlisted: needed.unlisted,
      objectsRead: read.objects,
      bytesRead: read.bytes,
      blobs: read.blobs,
      head: head && {
        repository,
        snapshot: head.id,
        sequence: head.sequence,
        digest: head.digest,
        ...(keeper?.head && { keeper: keeper.head }),
      },
    };
  }

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

  /** Those that are good, in order: what is committed, and what somebody removed and storage still has. */
  async #readSnapshots(
    repository: RepositoryId,
    committed: readonly SnapshotId[],
    removed: ReadonlyMap<SnapshotId, Trouble>,
    isForgotten: (id: SnapshotId) => boolean,
  ): Promise<{ readonly signed: SignedSnapshot[]; readonly links: ChainLink[] }> {
    const signed: SignedSnapshot[] = [];
    const links: ChainLink[] = [];
    let newest = new Date(0);
    for (const id of [...committed, ...removed.keys()].sort()) {
      this.#signal?.throwIfAborted();
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
    return { signed, links };
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

  async #readObjects(
    signed: readonly SignedSnapshot[],
    listing: RepositoryListing,
    needed: NeededObjects,
  ): Promise<Pick<ObjectReading, 'objects' | 'bytes' | 'blobs'>> {
    const { identities, readShare, shard, threads } = this.#options;
    const own = [...needed.digests].filter(([, digest]) => !shard || isInShard(digest, shard));
    const sample = chooseSample(
      own.map(([name]) => name),
      readShare,
    );
    const toRead = new Set([...sample].filter((name) => !needed.isBad(name)));
    // A snapshot's own root is read in any case: nothing can be restored without it.
    const roots = rootsToRead(signed, listing, needed);
    const bytes = [...toRead].reduce((sum, name) => sum + (needed.storedSize(name) ?? 0), 0);
    this.#observer.onTotal(bytes, toRead.size + roots.length);
    const shares = { storage: this.#storage, needed, find: this.#find, signal: this.#signal };
    const onProgress = this.#observer.onProgress.bind(this.#observer);
    await using reading = new ObjectReading({ ...shares, threads, onProgress });
    for (const { name, digest } of roots) await reading.hash(name, digest);
    if (!identities) for (const name of toRead) await reading.hash(name, needed.digests.get(name)!);
    else {
      await reading.settle();
      await verifyContent(signed, { ...shares, identities, toRead, reading });
    }
    await reading.settle();
    return reading;
  }

  readonly #find = (trouble: Trouble): void => {
    this.#troubles.push(trouble);
    this.#observer.onTrouble(trouble);
  };
}

function later(a: Date, b: Date): Date {
  return a > b ? a : b;
}
