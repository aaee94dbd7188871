import { SalvageError } from '../../errors/salvage-error.ts';
import { sequenceOf, type ObjectDigest, type RepositoryId, type SnapshotId } from '../../repository/ids.ts';
import {
  handoverFileName,
  indexName,
  packName,
  repositoryName,
  snapshotFileName,
  type KeeperRecordId,
} from '../../repository/layout.ts';
import { limits } from '../../repository/limits.ts';
import { decodeRepositoryJson, type RepositoryJson } from '../../repository/repository-json.ts';
import { decodeSnapshotJson, type SnapshotJson } from '../../repository/snapshot/snapshot-json.ts';
import type { Storage } from '../../storage/storage.ts';
import { readStoredHandovers, type StoredHandover } from '../handover.ts';
import { readKeeperHistory, type TrustedRecord } from '../keeper/keeper-records.ts';
import { RemovalMarks } from '../keeper/removal-marks.ts';
import { readRepositoryJson, type StoredSnapshot } from '../open-repository.ts';
import { tellsOfDamage } from '../reading/find-original.ts';
import { checkDigest, readBounded, readRequired } from '../reading/read-object.ts';
import {
  checkSignedFiles,
  readSignedFiles,
  readSignedSnapshot,
  readSnapshotJson,
  snapshotTime,
  type SignedFiles,
  type SignedSnapshot,
  type TrustedSigners,
} from '../reading/signed-snapshot.ts';
import { mapRewrapped, type RewrapMap } from '../reading/rewrapped-objects.ts';
import { checkChain, type ChainLink } from '../verify/check-chain.ts';
import { troubleKindOf, type Trouble } from '../verify/trouble.ts';
import { takeInventory, type Inventory } from './inventory.ts';
import { prefetch } from './prefetch.ts';
import { selectSnapshots, type CopySelection } from './select-snapshots.ts';
import { isInShard, type Shard } from '../shard.ts';

export interface PlanOptions {
  readonly source: Storage;
  readonly target: Storage;
  /** Undefined: that a signature fits its list is all that is checked. */
  readonly trusted: TrustedSigners | undefined;
  /** Whose records of what was forgotten are believed; without it, nobody's. */
  readonly keeper?: TrustedSigners | undefined;
  readonly selection?: CopySelection;
  readonly shard?: Shard;
  /** Also look at what the snapshots need that the target has already. */
  readonly repair?: boolean;
}

export interface PlanObserver {
  /** As soon as it is found. */
  onTrouble(trouble: Trouble): void;
  /** Worth knowing, and no trouble. */
  onNotice(message: string): void;
}

/** A pack or index object that the target lacks. Its digest is the one in its name. */
export interface PlannedObject {
  readonly name: string;
  readonly digest: ObjectDigest;
  /** As listed in the source. */
  readonly sizeBytes: number;
  /** What the target has under the name has another size: it is not what the name says, or this is not. */
  readonly replaces: boolean;
}

/** A snapshot to be committed in the target, whose signature and public facts are good. */
export interface PlannedSnapshot {
  readonly id: SnapshotId;
  readonly digest: ObjectDigest;
  /** SHA256SUMS.sig */
  readonly armored: Uint8Array;
  /** So many of the plan's objects, from the first on, must have been dealt with before it. */
  readonly objectsBefore: number;
}

export interface CopyPlan {
  readonly repository: RepositoryId;
  /** Whether the target says which repository it is; if `damaged`, it is known to be none of another one. */
  readonly claim: 'made' | 'absent' | 'damaged';
  readonly source: Inventory;
  readonly target: Inventory;
  /** In the order of the snapshots that need them; of each, packs before index objects. */
  readonly objects: readonly PlannedObject[];
  /** Names of what is needed and neither side has as it should be. */
  readonly lost: ReadonlySet<string>;
  /** In order of the chain. */
  readonly snapshots: readonly PlannedSnapshot[];
  /** Selected snapshots that the target has. */
  readonly present: number;
  /** The newest of them. */
  readonly newestPresent: SignedSnapshot | undefined;
  /** What a keeper is about to remove from the target. */
  readonly marks: RemovalMarks;
  /** Records of the source's keeper that a new target takes over: they say why its snapshots begin where they do. */
  readonly records: readonly KeeperRecordId[];
  /** What the host says of its signing keys, with one that is trusted, and the target lacks. */
  readonly handovers: readonly StoredHandover[];
}

/** Lists of snapshots that are on their way while another is looked at. */
const listsAhead = 4;

/**
 * Finds out what a copy has to do: one listing of each side, and the lists of the snapshots that the target lacks. Stores
 * nothing.
 * @throws no-repository, usage; failed if the target holds another repository; damaged if the chain would fork in the target
 */
export async function planCopy(
  options: PlanOptions,
  observer: PlanObserver,
  signal: AbortSignal,
): Promise<CopyPlan> {
  const { source, target } = options;
  const [{ id: repository }, place] = await Promise.all([
    readRepositoryJson(source, signal),
    lookAtPlace(target, signal),
  ]);
  if (place !== 'absent' && place !== 'damaged' && place.id !== repository)
    throw new SalvageError(
      'failed',
      `Cannot copy to "${target.description}": it holds another repository, ${place.id} and not ${repository}`,
      { hint: 'Give each repository a place of its own: a folder, a prefix, a bucket.' },
    );
  const [ours, [marks, theirs]] = await Promise.all([
    takeInventory(source, signal),
    lookAtTarget(target, signal),
  ]);
  const claim = typeof place === 'string' ? place : 'made';
  return await new Planner(options, observer, signal, repository, ours, theirs).plan(claim, marks);
}

async function lookAtPlace(
  target: Storage,
  signal: AbortSignal,
): Promise<RepositoryJson | 'absent' | 'damaged'> {
  try {
    const bytes = await readBounded(target, repositoryName, limits.repositoryJson, signal);
    return bytes ? decodeRepositoryJson(bytes) : 'absent';
  } catch (error) {
    if (error instanceof SalvageError && error.code === 'damaged') return 'damaged';
    throw error;
  }
}

/** The marks before the packs: what is marked later has seen the lists that a copy stores (format.md "Removing"). */
async function lookAtTarget(target: Storage, signal: AbortSignal): Promise<[RemovalMarks, Inventory]> {
  const marks = await RemovalMarks.read(target, signal);
  return [marks, await takeInventory(target, signal)];
}

/** "Ours" is the source, "theirs" the target. */
class Planner {
  readonly #options: PlanOptions;
  readonly #observer: PlanObserver;
  readonly #signal: AbortSignal;
  readonly #repository: RepositoryId;
  readonly #ours: Inventory;
  readonly #theirs: Inventory;
  readonly #objects = new Map<string, PlannedObject>();
  readonly #lost = new Set<string>();
  /** What stands for objects, by the records that the target has or is about to have. */
  #rewrapped: RewrapMap = new Map();

  constructor(
    options: PlanOptions,
    observer: PlanObserver,
    signal: AbortSignal,
    repository: RepositoryId,
    ours: Inventory,
    theirs: Inventory,
  ) {
    this.#options = options;
    this.#observer = observer;
    this.#signal = signal;
    this.#repository = repository;
    this.#ours = ours;
    this.#theirs = theirs;
  }

  async plan(claim: CopyPlan['claim'], marks: RemovalMarks): Promise<CopyPlan> {
    const { source, target, selection = {}, shard, repair = false } = this.#options;
    const here = await this.#readHistory(source, this.#ours);
    const there = await this.#readHistory(target, this.#theirs);
    const forgotten = forgottenIds([...here, ...there]);
    const selected = selectSnapshots(this.#ours.committed, selection).filter((id) => !forgotten.has(id));
    const common = selected.filter((id) => this.#theirs.byId.has(id));
    const pending = new Set(selected.filter((id) => !this.#theirs.byId.has(id)));
    const newest = common.at(-1);
    for (const id of common)
      if ((id === newest || !this.#looksWhole(id)) && !(await this.#isWhole(id))) pending.add(id);
    // What the newest common snapshot needs is known from here anyway; of the older ones only if that is asked for.
    const read = selected.filter((id) => repair || id === newest || pending.has(id));
    // Where there are snapshots the target has a keeper of its own, and its own records.
    const records = shard || this.#theirs.committed.length > 0 ? [] : here;
    this.#rewrapped = mapRewrapped([...there, ...records].map(({ record }) => record));
    const snapshots: PlannedSnapshot[] = [];
    const links: ChainLink[] = [];
    let newestPresent: SignedSnapshot | undefined;
    let time = new Date(0);
    for await (const [id, loaded] of prefetch(read, listsAhead, (id) => this.#load(id))) {
      const checked = await this.#check(id, loaded, time);
      if (!checked) continue;
      const { signed, link, armored } = checked;
      time = later(time, snapshotTime(id));
      links.push(link);
      this.#need(signed, shard);
      if (id === newest && !pending.has(id)) newestPresent = signed;
      if (pending.has(id) && !shard)
        snapshots.push({ id, digest: signed.digest, armored, objectsBefore: this.#objects.size });
    }
    await this.#checkSeams(links, pending);
    this.#compareEnds(pending, forgotten);
    return {
      repository: this.#repository,
      claim,
      source: this.#ours,
      target: this.#theirs,
      objects: [...this.#objects.values()],
      lost: this.#lost,
      snapshots,
      present: selected.length - pending.size,
      newestPresent,
      marks,
      records: records.map(({ id }) => id),
      handovers: shard ? [] : await this.#findHandovers(),
    };
  }

  /** Who lists neither key is told nothing by them, and whoever may create objects could have them carried for ever. */
  async #findHandovers(): Promise<readonly StoredHandover[]> {
    const { source, trusted } = this.#options;
    if (!trusted || !this.#ours.hasHandovers) return [];
    const stored = await readStoredHandovers(source, this.#repository, trusted, this.#signal);
    const isThere = (name: string, bytes: Uint8Array): boolean =>
      this.#theirs.sizes.get(name) === bytes.length;
    return stored.filter(
      ({ id, handover, document, armored }) =>
        handover.isOldTrusted &&
        !(
          isThere(handoverFileName(id, 'json'), document) &&
          isThere(handoverFileName(id, 'json.sig'), armored)
        ),
    );
  }

  // ---- What both sides have

  #looksWhole(id: SnapshotId): boolean {
    const ours = this.#ours.byId.get(id)!.files;
    const theirs = this.#theirs.byId.get(id)!.files;
    return [...ours].every(([file, size]) => theirs.get(file) === size);
  }

  /** False if what the target has of a snapshot is damaged. @throws damaged if it is another snapshot than ours, and genuine */
  async #isWhole(id: SnapshotId): Promise<boolean> {
    const { source, target, trusted } = this.#options;
    let theirs: SignedSnapshot;
    try {
      theirs = await readSignedSnapshot(target, id, trusted, snapshotTime(id), this.#signal);
    } catch (error) {
      if (!(error instanceof SalvageError) || !['damaged', 'bad-signature'].includes(error.code)) throw error;
      this.#observer.onNotice(`In "${target.description}": ${error.message}; it is copied again`);
      return false;
    }
    const ours = await this.#load(id);
    if (!(ours instanceof SalvageError)) {
      const signed = this.#readList(id, ours);
      if (signed && signed.digest !== theirs.digest)
        throw this.#fork(
          `snapshot ${id} is another one there than in "${source.description}", and both are signed`,
        );
    }
    for (const file of ['snapshot.json', 'root.age'] as const) {
      const size = this.#ours.byId.get(id)!.files.get(file);
      if (size === undefined || size === this.#theirs.byId.get(id)!.files.get(file)) continue;
      this.#observer.onNotice(
        `In "${target.description}": "${snapshotFileName(id, file)}" is damaged; it is copied again`,
      );
      return false;
    }
    return true;
  }

  #readList(id: SnapshotId, { files }: LoadedSnapshot): SignedSnapshot | undefined {
    try {
      return checkSignedFiles(id, files, this.#options.trusted, snapshotTime(id));
    } catch (error) {
      // It is named when its turn comes.
      troubleKindOf(error, 'damaged-snapshot');
      return undefined;
    }
  }

  // ---- What the source has

  async #load(id: SnapshotId): Promise<LoadedSnapshot | SalvageError> {
    const { source } = this.#options;
    try {
      const [files, json] = await Promise.all([
        readSignedFiles(source, id, this.#signal),
        readRequired(source, snapshotFileName(id, 'snapshot.json'), limits.snapshotJson, this.#signal),
      ]);
      return { files, json };
    } catch (error) {
      if (this.#signal.aborted || !isOfObject(error)) throw error;
      return error;
    }
  }

  async #check(
    id: SnapshotId,
    loaded: LoadedSnapshot | SalvageError,
    notBefore: Date,
  ): Promise<{ signed: SignedSnapshot; link: ChainLink; armored: Uint8Array } | undefined> {
    try {
      const { signed, json, files } = await this.#decode(id, loaded, later(notBefore, snapshotTime(id)));
      if (json.repository !== this.#repository) {
        const message = `Snapshot ${id} belongs to another repository, ${json.repository}.`;
        this.#observer.onTrouble({ kind: 'foreign', snapshot: id, message });
        return undefined;
      }
      const { sequence, previous } = json;
      return {
        signed,
        link: { id, sequence, digest: signed.digest, previous },
        armored: files.armored.slice(),
      };
    } catch (error) {
      const kind = troubleKindOf(error, 'damaged-snapshot');
      this.#observer.onTrouble({ kind, snapshot: id, message: (error as SalvageError).message });
      return undefined;
    }
  }

  async #decode(id: SnapshotId, loaded: LoadedSnapshot | SalvageError, time: Date): Promise<DecodedSnapshot> {
    const { source, trusted } = this.#options;
    const decode = (from: LoadedSnapshot | SalvageError): DecodedSnapshot => {
      if (from instanceof SalvageError) throw from;
      const signed = checkSignedFiles(id, from.files, trusted, time);
      checkDigest(snapshotFileName(id, 'snapshot.json'), from.json, signed.checksums.snapshotJson);
      return { signed, json: decodeSnapshotJson(from.json, id), files: from.files };
    };
    try {
      return decode(loaded);
    } catch (error) {
      if (!source.versions || !tellsOfDamage(error)) throw error;
      // Reading them one by one finds what they were before somebody wrote over them.
      const signed = await readSignedSnapshot(source, id, trusted, time, this.#signal);
      await readSnapshotJson(source, signed, this.#signal);
      return decode(await this.#load(id));
    }
  }

  #need({ id, checksums }: SignedSnapshot, shard: Shard | undefined): void {
    for (const pack of checksums.packs)
      if (!shard || isInShard(pack, shard)) this.#needEither(pack, packName, id);
    if (shard) return;
    for (const index of checksums.indexes) this.#needEither(index, indexName, id);
    const root = this.#rewrapped.get(checksums.root);
    if (root !== undefined) this.#needObject(packName(root), root, id);
  }

  /** The object, and what stands for it if it was rewrapped; then it itself may be gone. */
  #needEither(digest: ObjectDigest, nameOf: (digest: ObjectDigest) => string, snapshot: SnapshotId): void {
    const other = this.#rewrapped.get(digest);
    if (other !== undefined) this.#needObject(nameOf(other), other, snapshot);
    const isGone = !this.#ours.sizes.has(nameOf(digest)) && !this.#options.source.versions;
    if (other !== undefined && isGone && this.#ours.sizes.has(nameOf(other))) return;
    this.#needObject(nameOf(digest), digest, snapshot);
  }

  #needObject(name: string, digest: ObjectDigest, snapshot: SnapshotId): void {
    if (this.#objects.has(name) || this.#lost.has(name)) return;
    const sizeBytes = this.#ours.sizes.get(name);
    const present = this.#theirs.sizes.get(name);
    const isUsable = sizeBytes !== undefined && sizeBytes > 0 && sizeBytes <= limits.storedObject;
    if (present !== undefined && present > 0 && (present === sizeBytes || !isUsable)) return;
    if (isUsable || this.#options.source.versions) {
      // What somebody wrote over or removed may be found; its size is not known then.
      const size = isUsable ? sizeBytes : 0;
      this.#objects.set(name, { name, digest, sizeBytes: size, replaces: present !== undefined });
      return;
    }
    this.#lost.add(name);
    const [kind, state] =
      sizeBytes === undefined
        ? (['missing-object', 'missing'] as const)
        : sizeBytes === 0
          ? (['truncated-object', 'empty'] as const)
          : (['changed-object', `of ${sizeBytes} bytes, more than an object may have`] as const);
    const message = `"${name}" is ${state}. Snapshot ${snapshot} needs it.`;
    this.#observer.onTrouble({ kind, object: name, snapshot, message });
  }

  // ---- Where old and new meet

  /** What is new must go on from what the target has, and what the target has from what is new. */
  async #checkSeams(links: readonly ChainLink[], pending: ReadonlySet<SnapshotId>): Promise<void> {
    const known = new Set(links.map(({ id }) => id));
    const numbers = new Set([...pending].map(sequenceOf));
    const meets = (id: SnapshotId): boolean =>
      [-1, 0, 1].some((step) => numbers.has(sequenceOf(id) + step)) && !known.has(id) && !pending.has(id);
    const all = [...links];
    for (const { id } of this.#theirs.committed) {
      if (!meets(id)) continue;
      const link = await this.#readTheirLink(id);
      if (link) all.push(link);
    }
    all.sort((a, b) => (a.id < b.id ? -1 : 1));
    const fork = checkChain(all, undefined).find(({ kind }) => kind === 'forked-chain');
    if (fork) throw this.#fork(fork.message.charAt(0).toLowerCase() + fork.message.slice(1, -1));
  }

  async #readTheirLink(id: SnapshotId): Promise<ChainLink | undefined> {
    const { target, trusted } = this.#options;
    try {
      const signed = await readSignedSnapshot(target, id, trusted, snapshotTime(id), this.#signal);
      const { sequence, previous } = await readSnapshotJson(target, signed, this.#signal);
      return { id, sequence, digest: signed.digest, previous };
    } catch (error) {
      if (error instanceof SalvageError && error.code === 'failed') throw error;
      const kind = troubleKindOf(error, 'damaged-snapshot');
      const message = `In "${target.description}": ${(error as SalvageError).message}`;
      this.#observer.onTrouble({ kind, snapshot: id, message });
      return undefined;
    }
  }

  #fork(state: string): SalvageError {
    return new SalvageError('damaged', `Cannot copy to "${this.#options.target.description}": ${state}`, {
      hint: 'A host went on from an old state, or somebody forged a snapshot: compare both sides with "salvage snapshots"; --snapshot ID chooses what to copy.',
    });
  }

  /** Says what a later `verify` of the target would find strange. */
  #compareEnds(pending: ReadonlySet<SnapshotId>, forgotten: ReadonlySet<SnapshotId>): void {
    const { source, target } = this.#options;
    const numberOf = (snapshot: StoredSnapshot | undefined): number =>
      snapshot ? sequenceOf(snapshot.id) : 0;
    const [ours, theirs] = [this.#ours.committed.at(-1), this.#theirs.committed.at(-1)];
    if (numberOf(theirs) > numberOf(ours))
      this.#observer.onNotice(
        `"${target.description}" has newer snapshots, up to number ${numberOf(theirs)}, than "${source.description}", which ends with ${numberOf(ours)}: snapshots were removed there, or it was rolled back`,
      );
    const last = Math.max(numberOf(theirs), ...[...pending].map(sequenceOf));
    const left = this.#ours.committed.filter(
      ({ id }) =>
        sequenceOf(id) < last && !this.#theirs.byId.has(id) && !pending.has(id) && !forgotten.has(id),
    );
    if (left.length > 0)
      this.#observer.onNotice(
        `${left.length} earlier ${left.length === 1 ? 'snapshot is' : 'snapshots are'} not selected: "salvage verify" will call ${left.length === 1 ? 'it' : 'them'} missing in "${target.description}" until ${left.length === 1 ? 'it is' : 'they are'} copied`,
      );
  }

  async #readHistory(storage: Storage, { hasRecords }: Inventory): Promise<readonly TrustedRecord[]> {
    const { keeper } = this.#options;
    if (!hasRecords || !keeper) return [];
    const { records, problems } = await readKeeperHistory(storage, this.#repository, keeper, this.#signal);
    for (const { message } of problems) this.#observer.onNotice(`In "${storage.description}": ${message}`);
    return records;
  }
}

function forgottenIds(records: readonly TrustedRecord[]): Set<SnapshotId> {
  const ids = records.flatMap(({ record }) => (record.action === 'forget' ? record.snapshots : []));
  return new Set(ids.map(({ id }) => id));
}

interface LoadedSnapshot {
  readonly files: SignedFiles;
  readonly json: Uint8Array;
}

interface DecodedSnapshot {
  readonly signed: SignedSnapshot;
  readonly json: SnapshotJson;
  readonly files: SignedFiles;
}

/** False if it is not this object that fails but storage as a whole: there is no use in asking for the others then. */
export function isOfObject(error: unknown): error is SalvageError {
  if (!(error instanceof SalvageError) || error.code === 'interrupted') return false;
  return error.code !== 'failed' || error.details['object'] !== undefined;
}

function later(a: Date, b: Date): Date {
  return a > b ? a : b;
}
