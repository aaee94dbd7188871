import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { equalBytes } from '../../bytes/bytes.ts';
import type { Clock } from '../../clock/clock.ts';
import { releaseMemory } from '../../bytes/release-memory.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { damagedObject } from '../../repository/damage.ts';
import type { LockPolicy } from '../../repository/host-configuration.ts';
import type { ObjectDigest, PackId, RepositoryId, SnapshotId } from '../../repository/ids.ts';
import {
  handoverFileName,
  indexName,
  keeperFileName,
  packName,
  readmeName,
  recoverName,
  repositoryName,
  snapshotFileName,
  type SnapshotFile,
} from '../../repository/layout.ts';
import { limits } from '../../repository/limits.ts';
import { readReadme, readRecoverScript } from '../../repository/recovery/recovery-files.ts';
import { decodeRepositoryJson } from '../../repository/repository-json.ts';
import { checksumsDigest, decodeChecksums } from '../../repository/snapshot/checksums.ts';
import type { SignedSnapshot } from '../reading/signed-snapshot.ts';
import type { Storage } from '../../storage/storage.ts';
import { findByDigest, tellsOfDamage } from '../reading/find-original.ts';
import { extendLocks } from '../backup/extend-locks.ts';
import { requireObjectLock, retentionFrom } from '../lock/lock-policy.ts';
import { RemovalMarks } from '../keeper/removal-marks.ts';
import { checkDigest, readBounded, readDigested, readRequired } from '../reading/read-object.ts';
import { troubleKindOf, type Trouble } from '../verify/trouble.ts';
import { ByteBudget } from './byte-budget.ts';
import { Milestones } from './milestones.ts';
import {
  isOfObject,
  planCopy,
  type CopyPlan,
  type PlannedObject,
  type PlannedSnapshot,
  type PlanObserver,
  type PlanOptions,
} from './plan-copy.ts';

export interface CopyOptions extends PlanOptions {
  /** For the whole process; one object at least is held. Default: 256 MiB */
  readonly memoryBytes?: number;
  /** Plan, and store nothing. */
  readonly dryRun?: boolean;
  /** Lock in the target what is stored there, and again what a new snapshot needs of what is there. */
  readonly lock?: CopyLock;
}

export interface CopyLock {
  readonly policy: LockPolicy;
  /** Where it is remembered what was locked, and until when; its folder is there. Disposable. */
  readonly path: (repository: RepositoryId) => string;
  readonly clock: Clock;
}

export interface CopyObserver extends PlanObserver {
  /** What there is to carry, when that is known. */
  onTotal(bytes: number, objects: number): void;
  onProgress(bytes: number, objects: number): void;
  /** The snapshot is in the target. */
  onSnapshot(id: SnapshotId): void;
}

export interface CopyResult {
  readonly repository: RepositoryId;
  /** In order: those committed in the target; in a dry run, those that would be. */
  readonly snapshots: readonly SnapshotId[];
  /** Selected ones that the target had before. */
  readonly present: number;
  /** Packs and index objects that the target lacked, and their bytes. */
  readonly wantedObjects: number;
  readonly wantedBytes: number;
  /** Those of them that were stored. */
  readonly objects: number;
  readonly bytes: number;
  readonly troubles: readonly Trouble[];
}

const usualMemoryBytes = 256 * 1024 * 1024;
/** What the process takes besides the objects that it holds. */
const processBytes = 96 * 1024 * 1024;
/** What keeps a link full where round trips are long and objects small. */
const mostInFlight = 16;
/** Where so many objects cannot be read, one after the other, more is broken than they. */
const mostFailuresInARow = 32;
/** Snapshots that are made ready together and made durable at once. */
const mostPreparedTogether = 8;
/** Between two such pieces others have their turn. */
const hashPieceBytes = 4 * 1024 * 1024;

/**
 * Brings snapshots of one repository from one storage to another, without any key: signatures and the SHA-256 of
 * everything are checked on the way, and only what the target lacks is carried. A snapshot appears there once all that it
 * needs is durable (docs/design/format.md, rule 2); what an interrupted run has carried is not carried again. Troubles with
 * the source are collected and do not stop it: snapshots that need what is damaged are not committed.
 * @throws as `planCopy`; failed when either storage fails; interrupted
 */
export async function copy(
  options: CopyOptions,
  observer: CopyObserver,
  signal: AbortSignal = new AbortController().signal,
): Promise<CopyResult> {
  const troubles: Trouble[] = [];
  const collecting: CopyObserver = {
    onTrouble(trouble) {
      troubles.push(trouble);
      observer.onTrouble(trouble);
    },
    onNotice: (message) => observer.onNotice(message),
    onTotal: (bytes, objects) => observer.onTotal(bytes, objects),
    onProgress: (bytes, objects) => observer.onProgress(bytes, objects),
    onSnapshot: (id) => observer.onSnapshot(id),
  };
  const plan = await planCopy(options, collecting, signal);
  const wantedBytes = plan.objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  collecting.onTotal(wantedBytes, plan.objects.length);
  const run = new CopyRun(plan, options, collecting);
  if (!options.dryRun) await run.run(signal);
  return {
    repository: plan.repository,
    snapshots: options.dryRun ? plan.snapshots.map(({ id }) => id) : run.committed,
    present: plan.present,
    wantedObjects: plan.objects.length,
    wantedBytes,
    objects: run.objects,
    bytes: run.bytes,
    troubles,
  };
}

class CopyRun {
  readonly #plan: CopyPlan;
  readonly #source: Storage;
  readonly #target: Storage;
  readonly #isShard: boolean;
  readonly #lock: CopyLock | undefined;
  /** When locks began to be set. */
  #started = new Date(0);
  readonly #observer: CopyObserver;
  readonly #budget: ByteBudget;
  #marks: RemovalMarks;
  readonly #carried = new Milestones();
  /** What the target does not have as it should be. */
  readonly #absent: Set<string>;
  #failuresInARow = 0;
  readonly committed: SnapshotId[] = [];
  objects = 0;
  bytes = 0;

  constructor(plan: CopyPlan, options: CopyOptions, observer: CopyObserver) {
    this.#plan = plan;
    this.#source = options.source;
    this.#target = options.target;
    this.#isShard = options.shard !== undefined;
    this.#lock = options.lock;
    this.#observer = observer;
    this.#marks = plan.marks;
    this.#budget = new ByteBudget((options.memoryBytes ?? usualMemoryBytes) - processBytes);
    this.#absent = new Set([...plan.lost, ...plan.objects.map(({ name }) => name)]);
  }

  async run(signal: AbortSignal): Promise<void> {
    if (this.#lock) {
      this.#started = this.#lock.clock.now();
      requireObjectLock(this.#target).lockNew(retentionFrom(this.#lock.policy, this.#started));
    }
    await this.#claimTarget(signal);
    await this.#carryRecords(signal);
    await this.#carryHandovers(signal);
    const failure = new AbortController();
    const either = AbortSignal.any([signal, failure.signal]);
    const objects = this.#plan.objects.entries();
    const works = Array.from({ length: mostInFlight }, () => this.#carryFrom(objects, either));
    works.push(this.#commitAll(either));
    // The first failure stops the others, and when all have stopped it is what is thrown.
    await Promise.all(works.map((work) => work.catch((error: unknown) => failure.abort(error))));
    failure.signal.throwIfAborted();
    await this.#target.settle(signal);
    const { newestPresent } = this.#plan;
    if (this.committed.length === 0 && newestPresent && !this.#isShard)
      await this.#lockPresent(newestPresent, signal);
  }

  /**
   * Says first whose place this is: a copy of another repository finds it taken. The two files for people come from this
   * salvage and not from the source: nobody has signed those, and one of them is a program.
   */
  async #claimTarget(signal: AbortSignal): Promise<void> {
    const { claim, repository } = this.#plan;
    if (claim === 'made') return;
    const bytes = await readRequired(this.#source, repositoryName, limits.repositoryJson, signal);
    if (decodeRepositoryJson(bytes).id !== repository)
      throw damagedObject(repositoryName, 'it is another one than a moment ago');
    await this.#putFile(repositoryName, bytes, signal);
    await Promise.all([
      this.#target.create(readmeName, [readReadme()], signal),
      this.#target.create(recoverName, [readRecoverScript()], signal),
    ]);
  }

  async #carryRecords(signal: AbortSignal): Promise<void> {
    const { records } = this.#plan;
    if (records.length === 0) return;
    for (const id of records)
      for (const file of ['json', 'json.sig'] as const) {
        const name = keeperFileName(id, file);
        const bytes = await readRequired(this.#source, name, limits.keeperRecord, signal);
        await this.#target.create(name, [bytes], signal);
        if (file === 'json') await this.#target.settle(signal);
      }
    this.#marks = await RemovalMarks.read(this.#target, signal);
  }

  async #carryHandovers(signal: AbortSignal): Promise<void> {
    for (const { id, document, armored } of this.#plan.handovers) {
      if (!(await this.#putFile(handoverFileName(id, 'json'), document, signal))) continue;
      await this.#target.settle(signal);
      await this.#putFile(handoverFileName(id, 'json.sig'), armored, signal);
    }
  }

  // ---- Packs and index objects

  /** One of several that take from the same list. */
  async #carryFrom(objects: Iterator<readonly [number, PlannedObject]>, signal: AbortSignal): Promise<void> {
    for (let next = objects.next(); !next.done; next = objects.next()) {
      const [index, object] = next.value;
      await this.#carry(object, signal);
      this.#carried.done(index);
    }
  }

  async #carry(object: PlannedObject, signal: AbortSignal): Promise<void> {
    const { name, digest, sizeBytes, replaces } = object;
    using _ = await this.#budget.hold(sizeBytes);
    signal.throwIfAborted();
    if (replaces && (await this.#isWholeThere(object, signal))) {
      this.#absent.delete(name);
      const message = `"${name}" is damaged: it has ${sizeBytes} bytes in "${this.#source.description}", and is as it should be in "${this.#target.description}".`;
      this.#observer.onTrouble({ kind: 'changed-object', object: name, message });
      return this.#observer.onProgress(sizeBytes, 1);
    }
    const bytes = await this.#readSource(name, () => this.#readObject(name, sizeBytes, digest, signal));
    if (bytes && (await this.#place(name, bytes, replaces, signal))) {
      this.#absent.delete(name);
      this.objects++;
      this.bytes += bytes.length;
      releaseMemory(bytes);
    }
    this.#observer.onProgress(sizeBytes, 1);
  }

  /** Whose size is the wrong one. False also where nobody may read. */
  async #isWholeThere({ name, digest }: PlannedObject, signal: AbortSignal): Promise<boolean> {
    try {
      const bytes = await readRequired(this.#target, name, limits.storedObject, signal);
      await checkDigestInPieces(name, bytes, digest);
      return true;
    } catch (error) {
      // A key that may only add may not be allowed to read, either.
      const isRefused =
        !this.#target.capabilities.remove && error instanceof SalvageError && error.code === 'failed';
      if (isRefused || isOfObject(error)) return false;
      throw error;
    }
  }

  async #readObject(
    name: string,
    sizeBytes: number,
    digest: ObjectDigest,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const read = async (mostBytes: number): Promise<Uint8Array> => {
      const bytes = await readRequired(this.#source, name, mostBytes, signal);
      await checkDigestInPieces(name, bytes, digest);
      return bytes;
    };
    try {
      return await read(sizeBytes);
    } catch (error) {
      if (!tellsOfDamage(error) || !(await findByDigest(this.#source, name, digest, signal))) throw error;
      return await read(limits.storedObject);
    }
  }

  /** Undefined if it cannot be had, which has been told then. @throws failed when the source as a whole fails */
  async #readSource<T>(object: string, read: () => Promise<T>): Promise<T | undefined> {
    try {
      const result = await read();
      this.#failuresInARow = 0;
      return result;
    } catch (error) {
      if (!isOfObject(error)) throw error;
      const kind = troubleKindOf(error, 'changed-object');
      this.#observer.onTrouble({ kind, object, message: error.message });
      if (kind === 'unreadable' && ++this.#failuresInARow >= mostFailuresInARow) throw error;
      return undefined;
    }
  }

  /** Stores an object whose bytes are what its name says. False if that cannot be, which has been told then. */
  async #place(name: string, bytes: Uint8Array, replaces: boolean, signal: AbortSignal): Promise<boolean> {
    if (replaces && !(await this.#removeBad(name, signal))) return false;
    if ((await this.#target.create(name, [bytes], signal)) === 'created') return true;
    // Another run was faster, or the listing was an old one.
    const stat = await this.#target.stat(name, signal);
    if (stat?.sizeBytes === bytes.length) return true;
    this.#cannotReplace(name);
    return false;
  }

  async #removeBad(name: string, signal: AbortSignal): Promise<boolean> {
    if (!this.#target.capabilities.remove) {
      this.#cannotReplace(name);
      return false;
    }
    this.#observer.onNotice(`In "${this.#target.description}": "${name}" is damaged; it is replaced`);
    await this.#target.remove(name, signal);
    this.#plan.target.sizes.delete(name);
    return true;
  }

  #cannotReplace(name: string): void {
    const message = `In "${this.#target.description}": "${name}" is damaged, and nothing may be removed there. Whoever may has to remove it; then copy again.`;
    this.#observer.onTrouble({ kind: 'changed-object', object: name, message });
  }

  // ---- Snapshots

  /** In order of the chain, so that it has no gaps at any time. */
  async #commitAll(signal: AbortSignal): Promise<void> {
    if (this.#isShard) return;
    const { snapshots } = this.#plan;
    for (let next = 0; next < snapshots.length;) {
      await this.#carried.reach(snapshots[next]!.objectsBefore, signal);
      const group: PlannedSnapshot[] = [];
      while (
        group.length < mostPreparedTogether &&
        next < snapshots.length &&
        this.#carried.reached(snapshots[next]!.objectsBefore)
      )
        group.push(snapshots[next++]!);
      const ready = await Promise.all(group.map((snapshot) => this.#prepare(snapshot, signal)));
      await this.#target.settle(signal);
      await this.#extendLocks(
        ready.flatMap((packs) => packs?.map(packName) ?? []),
        signal,
      );
      const free = await Promise.all(
        group.map(async ({ id }, index) => ready[index] && (await this.#isFree(id, ready[index], signal))),
      );
      for (const [index, { id, armored }] of group.entries()) {
        if (!free[index]) continue;
        if (!(await this.#putFile(snapshotFileName(id, 'SHA256SUMS.sig'), armored, signal))) continue;
        this.committed.push(id);
        this.#observer.onSnapshot(id);
      }
    }
  }

  /** Nothing is new: what can be restored from the target stays locked for as long as is asked for today. */
  async #lockPresent({ id, checksums }: SignedSnapshot, signal: AbortSignal): Promise<void> {
    const files = [...this.#plan.target.byId.get(id)!.files.keys()];
    await this.#extendLocks(
      [
        ...checksums.packs.map(packName),
        ...checksums.indexes.map(indexName),
        ...files.map((file) => snapshotFileName(id, file)),
      ],
      signal,
    );
  }

  /** What was there before must stay for as long as the snapshots that need it now. */
  async #extendLocks(needed: readonly string[], signal: AbortSignal): Promise<void> {
    if (!this.#lock) return;
    const { policy, path, clock } = this.#lock;
    await extendLocks({
      storage: this.#target,
      policy,
      names: [...new Set(needed), repositoryName],
      path: path(this.#plan.repository),
      started: this.#started,
      now: clock.now(),
      signal,
    });
  }

  /**
   * The last look before a signature is stored, when SHA256SUMS is durable: nothing that a keeper is about to remove may
   * come into use again (docs/design/format.md "Removing").
   */
  async #isFree(id: SnapshotId, packs: readonly PackId[], signal: AbortSignal): Promise<boolean> {
    const marks = this.#marks;
    const marked = packs.find((pack) => marks.has(pack));
    try {
      await marks.confirm(id, packs, signal);
      if (!marked && !marks.hasUnfinished(id)) return true;
    } catch (error) {
      if (!(error instanceof SalvageError) || error.details['markedPacks'] === undefined) throw error;
    }
    const message = `A keeper is about to remove ${marked ? `"${packName(marked)}"` : 'what was there of it or of its packs'} from "${this.#target.description}": snapshot ${id} is not finished before that is over.`;
    this.#observer.onTrouble({ kind: 'marked-object', snapshot: id, message });
    return false;
  }

  /** Stores all of a snapshot but its signature. Its packs, or undefined if something that it needs is not to be had. */
  async #prepare(
    { id, digest, armored }: PlannedSnapshot,
    signal: AbortSignal,
  ): Promise<readonly PackId[] | undefined> {
    const files = this.#plan.source.byId.get(id)!.files;
    const nameOf = (file: SnapshotFile): string => snapshotFileName(id, file);
    const sizes = ['SHA256SUMS', 'snapshot.json', 'root.age'] as const;
    using _ = await this.#budget.hold(sizes.reduce((sum, file) => sum + (files.get(file) ?? 0), 0));
    signal.throwIfAborted();
    const content = await this.#readSource(nameOf('SHA256SUMS'), async () => {
      const list = await readRequired(this.#source, nameOf('SHA256SUMS'), limits.checksums, signal);
      if (checksumsDigest(list) !== digest)
        throw damagedObject(nameOf('SHA256SUMS'), 'it is another one than a moment ago');
      const checksums = decodeChecksums(list, id);
      const { snapshotJson: jsonDigest, root: rootDigest } = checksums;
      const [json, root] = await Promise.all([
        readDigested(this.#source, nameOf('snapshot.json'), limits.snapshotJson, jsonDigest, signal),
        readDigested(this.#source, nameOf('root.age'), limits.storedObject, rootDigest, signal),
      ]);
      return { list, json, root, checksums };
    });
    if (!content) return this.#leaveOut(id, 'its own files are damaged');
    const { list, json, root, checksums } = content;
    const needed = [...checksums.packs.map(packName), ...checksums.indexes.map(indexName)];
    const absent = needed.filter((name) => this.#absent.has(name));
    if (absent.length > 0)
      return this.#leaveOut(id, `${absent.length} of the objects that it needs could not be had`);
    // A damaged signature goes first: no reader is to take for a snapshot what is being put together.
    const signature = nameOf('SHA256SUMS.sig');
    if (this.#plan.target.sizes.has(signature) && !(await this.#clear(signature, armored, signal)))
      return this.#leaveOut(id, 'what is there in its place cannot be replaced');
    const placed =
      (await Promise.all([
        this.#putFile(nameOf('snapshot.json'), json, signal),
        this.#putFile(nameOf('root.age'), root, signal),
      ]).then((both) => both.every(Boolean))) && (await this.#putFile(nameOf('SHA256SUMS'), list, signal));
    if (!placed) return this.#leaveOut(id, 'what is there in its place cannot be replaced');
    return checksums.packs;
  }

  #leaveOut(id: SnapshotId, why: string): undefined {
    this.#observer.onNotice(`Snapshot ${id} is not copied: ${why}`);
    return undefined;
  }

  /** Makes the target hold these bytes under the name, of which nothing genuine has others. False if that cannot be. */
  async #putFile(name: string, bytes: Uint8Array, signal: AbortSignal): Promise<boolean> {
    if (this.#plan.target.sizes.has(name) && !(await this.#clear(name, bytes, signal))) return false;
    if ((await this.#target.create(name, [bytes], signal)) === 'created') return true;
    if (await this.#holds(name, bytes, signal)) return true;
    return (
      (await this.#removeBad(name, signal)) &&
      (await this.#target.create(name, [bytes], signal)) === 'created'
    );
  }

  /** Removes what the target has under the name, unless it is these bytes. False if that is not allowed. */
  async #clear(name: string, bytes: Uint8Array, signal: AbortSignal): Promise<boolean> {
    return (await this.#holds(name, bytes, signal)) || (await this.#removeBad(name, signal));
  }

  async #holds(name: string, bytes: Uint8Array, signal: AbortSignal): Promise<boolean> {
    try {
      const found = await readBounded(this.#target, name, bytes.length, signal);
      return found !== undefined && equalBytes(found, bytes);
    } catch (error) {
      if (error instanceof SalvageError && error.code === 'damaged') return false;
      throw error;
    }
  }
}

/** As `checkDigest`; others have their turn meanwhile. @throws damaged */
async function checkDigestInPieces(name: string, bytes: Uint8Array, expected: ObjectDigest): Promise<void> {
  if (bytes.length <= hashPieceBytes) return checkDigest(name, bytes, expected);
  const hash = createHash('sha256');
  for (let start = 0; start < bytes.length; start += hashPieceBytes) {
    hash.update(bytes.subarray(start, start + hashPieceBytes));
    await setImmediate();
  }
  const found = hash.digest('hex');
  if (found !== expected) throw damagedObject(name, `its SHA-256 is ${found}`);
}
