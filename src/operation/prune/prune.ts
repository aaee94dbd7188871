import type { IndexId, ObjectDigest, PackId, SnapshotId } from '../../repository/ids.ts';
import { sequenceOf } from '../../repository/ids.ts';
import { mostObjectsInRecord, type Unreferenced } from '../../repository/keeper-record.ts';
import {
  indexName,
  indexPrefix,
  packName,
  packsPrefix,
  roleOf,
  snapshotFileName,
  snapshotsPrefix,
  type SnapshotFile,
} from '../../repository/layout.ts';
import type { ObjectStat, Storage } from '../../storage/storage.ts';
import { prefetch } from '../copy/prefetch.ts';
import { beginningsOf, isInShard, type Shard } from '../shard.ts';
import { finishForgetting } from '../forget/forget.ts';
import type { TrustedRecord } from '../keeper/keeper-records.ts';
import { isOpen } from '../keeper/removal-marks.ts';
import { removeSnapshotFiles, type KeeperSession } from '../keeper/keeper-session.ts';
import { groupSnapshots, type StoredSnapshots } from '../open-repository.ts';
import { isSuperseded, readReferencedObjects } from './referenced-objects.ts';

export interface PruneOptions {
  readonly storage: Storage;
  readonly session: KeeperSession;
  /** So long after it was marked an object may be removed. */
  readonly graceMs: number;
  /** Go on although snapshots are missing that no record accounts for. */
  readonly acceptMissing?: boolean;
  /** Take away also what a trusted record says was rewrapped, where the new object is there. */
  readonly rewrapped?: boolean;
  /** Sign what is to go, and leave its removal to runs with `shard`. */
  readonly recordOnly?: boolean;
  /**
   * Remove, of what signed records say is to go, this share, and do nothing else. No record is written, so that any number
   * of shares can be at work; `session` is shared then.
   */
  readonly shard?: Shard;
  /** Look and tell, and change nothing. */
  readonly dryRun?: boolean;
  readonly now: Date;
  readonly signal: AbortSignal;
  readonly onRemoved?: (bytes: number) => void;
}

export interface ObjectCount {
  readonly objects: number;
  readonly bytes: number;
}

export interface PruneResult {
  /** Marked earlier, still unreferenced, and removed by this run. */
  readonly removed: ObjectCount;
  /** To be removed as well, by runs with `shard`. */
  readonly left: ObjectCount;
  /** Marked earlier, and needed again: they stay. */
  readonly released: number;
  /** Marked by this run. */
  readonly marked: ObjectCount;
  /** Marked earlier, for whom the grace time is not over. */
  readonly waiting: ObjectCount;
  /** When the first of what is marked may be removed. */
  readonly removableFrom: Date | undefined;
  /** What stays of what was looked at: packs and index objects. */
  readonly kept: ObjectCount;
}

/** So many removals are under way at a time. */
const removalsAtOnce = 16;
/** Objects that are asked for while one is looked at. */
const looksAhead = 16;
/** After so many a share makes sure that the record is still open by which it removes. */
const removalsBetweenLooks = 1024;
const nothing: ObjectCount = { objects: 0, bytes: 0 };

/**
 * Removes what no SHA256SUMS lists any more, in two steps: what is unreferenced is marked in a signed record, and removed
 * by a later run after the grace time if it still is (docs/design/format.md "Removing"). Needs no key but the keeper's own,
 * and is safe beside running backups without any lock: see `RemovalMarks.confirm`.
 * @throws damaged if nobody can tell what is still needed; failed; bad-key
 */
export async function prune(options: PruneOptions): Promise<PruneResult> {
  return await new Pruning(options).run();
}

class Pruning {
  readonly #options: PruneOptions;
  /** Packs and index objects, by name. */
  readonly #objects = new Map<string, ObjectStat>();
  readonly #snapshotFiles = new Map<SnapshotId, Map<SnapshotFile, number>>();
  /** When storage received the signature, or else the last file, of a snapshot. */
  readonly #received = new Map<SnapshotId, Date>();
  #stored: StoredSnapshots = { committed: [], unfinished: [] };
  #referenced: ReadonlySet<string> = new Set();
  #removed = { objects: 0, bytes: 0 };
  #left = { objects: 0, bytes: 0 };
  #released = 0;

  constructor(options: PruneOptions) {
    this.#options = options;
  }

  async run(): Promise<PruneResult> {
    const { storage, session, shard, acceptMissing = false, dryRun = false, signal } = this.#options;
    if (!dryRun) session.requireRemoval();
    await this.#list();
    if (!acceptMissing) {
      // A listing that is not of one moment may lack one of two snapshots that came while it ran.
      if (session.missing(this.#stored).length > 0) await this.#list();
      session.checkComplete(this.#stored);
    }
    if (!dryRun && !shard) await finishForgetting(storage, session, this.#stored, signal);
    this.#stored = withoutForgotten(this.#stored, session);
    this.#referenced = await this.#withoutRewrapped(
      await readReferencedObjects(storage, this.#stored, signal),
    );
    return shard ? await this.#removeShare() : await this.#keep();
  }

  async #keep(): Promise<PruneResult> {
    const { storage, session, recordOnly = false, dryRun = false, now, signal } = this.#options;
    const waiting: TrustedRecord[] = [];
    for (const record of session.openRecords) {
      if (record.record.action === 'sweep') {
        if (recordOnly) this.#leave(this.#removable(record.record));
        else await this.#finishSweep(record);
      } else if (now.getTime() < this.#removableFrom(record).getTime()) waiting.push(record);
      else await this.#sweep(record);
    }
    const candidates = this.#candidates(waiting);
    const newMark =
      dryRun || namesOf(candidates).length === 0
        ? undefined
        : await session.record({ action: 'mark', ...candidates });
    if (!dryRun) {
      await storage.settle(signal);
      session.remember(this.#stored.committed.at(-1)?.id, { unlisted: this.#unlisted() });
    }
    const removableFrom = [...waiting, ...(newMark ? [newMark] : [])].map((mark) =>
      this.#removableFrom(mark).getTime(),
    );
    return this.#result({
      marked: this.#count(namesOf(candidates)),
      waiting: this.#count(waiting.flatMap(({ record }) => namesOf(record))),
      removableFrom: removableFrom.length > 0 ? new Date(Math.min(...removableFrom)) : undefined,
    });
  }

  /** Whether a sweep is over is for a run without a share to say, when no share is at work. */
  async #removeShare(): Promise<PruneResult> {
    const { storage, session, dryRun = false, signal } = this.#options;
    for (const { id, record } of session.openRecords) {
      if (record.action !== 'sweep') continue;
      const { packs, indexes } = this.#removable(record);
      const names = [...packs.map(packName), ...indexes.map(indexName)];
      for (let at = 0; at < names.length; at += removalsBetweenLooks) {
        if (!dryRun && !(await isOpen(storage, id.number, signal))) break;
        await this.#removeObjects(names.slice(at, at + removalsBetweenLooks));
      }
    }
    if (!dryRun) await storage.settle(signal);
    return this.#result({ marked: nothing, waiting: nothing, removableFrom: undefined });
  }

  #result(of: Pick<PruneResult, 'marked' | 'waiting' | 'removableFrom'>): PruneResult {
    const all = this.#count(this.#objects.keys());
    const left = this.#left;
    return {
      removed: this.#removed,
      left,
      released: this.#released,
      ...of,
      kept: { objects: all.objects - left.objects, bytes: all.bytes - left.bytes },
    };
  }

  /** Packs first: a snapshot that is committed while this runs is then seen with its list. */
  async #list(): Promise<void> {
    const { storage, shard, signal } = this.#options;
    for (const known of [this.#objects, this.#snapshotFiles, this.#received]) known.clear();
    const packs = shard ? beginningsOf(shard).map((digits) => `${packsPrefix}${digits}/`) : [packsPrefix];
    for (const prefix of [...packs, indexPrefix])
      for await (const stat of storage.list(prefix, signal)) {
        const role = roleOf(stat.name);
        if ((role?.kind === 'pack' || role?.kind === 'index') && this.#concerns(role.id))
          this.#objects.set(stat.name, stat);
      }
    for await (const { name, sizeBytes, receivedAt } of storage.list(snapshotsPrefix, signal)) {
      const role = roleOf(name);
      if (role?.kind !== 'snapshot') continue;
      let files = this.#snapshotFiles.get(role.id);
      if (!files) this.#snapshotFiles.set(role.id, (files = new Map()));
      files.set(role.file, sizeBytes);
      const latest = this.#received.get(role.id);
      if (receivedAt && (!latest || receivedAt > latest)) this.#received.set(role.id, receivedAt);
    }
    this.#stored = groupSnapshots(this.#snapshotFiles);
  }

  #concerns(object: ObjectDigest): boolean {
    const { shard } = this.#options;
    return !shard || isInShard(object, shard);
  }

  /** What signed lists name and something else stands for, by a record that is believed, is not needed any more. */
  async #withoutRewrapped(referenced: ReadonlySet<string>): Promise<ReadonlySet<string>> {
    const { session, rewrapped = false, signal } = this.#options;
    if (!rewrapped) return referenced;
    const replaced = new Set<string>();
    const pairs = [...session.rewrapped].filter(([from, to]) => from !== to && this.#concerns(from));
    for await (const [[from], isThere] of prefetch(pairs, looksAhead, ([, to]) => this.#isThere(to))) {
      signal.throwIfAborted();
      if (isThere) replaced.add(from);
    }
    return new Set([...referenced].filter((digest) => !replaced.has(digest)));
  }

  async #isThere(object: ObjectDigest): Promise<boolean> {
    const { storage, signal } = this.#options;
    const names = [packName(object), indexName(object)];
    if (this.#concerns(object)) return names.some((name) => this.#objects.has(name));
    for (const name of names) if (await storage.stat(name, signal)) return true;
    return false;
  }

  #removableFrom({ record }: TrustedRecord): Date {
    return new Date(new Date(record.time).getTime() + this.#options.graceMs);
  }

  /** What is still there of the objects, and still unreferenced. */
  #removable(marked: Unreferenced): Unreferenced {
    const unfinished = new Set(this.#stored.unfinished);
    return {
      packs: marked.packs.filter((id) => this.#objects.has(packName(id)) && !this.#referenced.has(id)),
      indexes: marked.indexes.filter((id) => this.#objects.has(indexName(id)) && !this.#referenced.has(id)),
      unfinished: marked.unfinished.filter((id) => unfinished.has(id)),
    };
  }

  async #sweep(mark: TrustedRecord): Promise<void> {
    const { session, recordOnly = false, dryRun = false } = this.#options;
    if (mark.record.action !== 'mark') return;
    const removable = this.#removable(mark.record);
    const there = [
      ...mark.record.packs.map(packName).filter((name) => this.#objects.has(name)),
      ...mark.record.indexes.map(indexName).filter((name) => this.#objects.has(name)),
    ].length;
    this.#released += there - removable.packs.length - removable.indexes.length;
    if (!dryRun) {
      session.close(mark);
      await session.record({ action: 'sweep', mark: mark.id.number, ...removable });
    }
    if (recordOnly) this.#leave(removable);
    else await this.#remove(removable);
  }

  #leave({ packs, indexes }: Unreferenced): void {
    const { objects, bytes } = this.#count([...packs.map(packName), ...indexes.map(indexName)]);
    this.#left.objects += objects;
    this.#left.bytes += bytes;
  }

  /** Takes up what an earlier run has signed. It is over when nothing is left of it, and the next record says so. */
  async #finishSweep(sweep: TrustedRecord): Promise<void> {
    if (sweep.record.action !== 'sweep') return;
    const left = this.#removable(sweep.record);
    await this.#remove(left);
    if (!this.#options.dryRun) this.#options.session.close(sweep);
  }

  async #remove(objects: Unreferenced): Promise<void> {
    const { storage, dryRun = false, signal } = this.#options;
    if (!dryRun) for (const id of objects.unfinished) await removeSnapshotFiles(storage, id, signal);
    const gone = new Set(objects.unfinished);
    const { committed, unfinished } = this.#stored;
    this.#stored = { committed, unfinished: unfinished.filter((id) => !gone.has(id)) };
    await this.#removeObjects(namesOf({ ...objects, unfinished: [] }));
  }

  async #removeObjects(names: readonly string[]): Promise<void> {
    const { storage, dryRun = false, signal, onRemoved } = this.#options;
    for (let at = 0; at < names.length; at += removalsAtOnce) {
      signal.throwIfAborted();
      await Promise.all(
        names.slice(at, at + removalsAtOnce).map(async (name) => {
          if (!dryRun) await storage.remove(name, signal);
          const bytes = this.#objects.get(name)?.sizeBytes ?? 0;
          this.#objects.delete(name);
          this.#removed.objects++;
          this.#removed.bytes += bytes;
          onRemoved?.(bytes);
        }),
      );
    }
  }

  /**
   * What is unreferenced and was stored before the newest snapshot was committed: what came later may belong to a run that
   * is under way, however long it takes.
   */
  #candidates(open: readonly TrustedRecord[]): Unreferenced {
    const { session, graceMs, now } = this.#options;
    const marked = new Set(open.flatMap(({ record }) => namesOf(record)));
    const swept = new Set(session.openRecords.flatMap(({ record }) => namesOf(record)));
    const newest = this.#stored.committed.at(-1)?.id;
    const committedAt = newest && this.#received.get(newest);
    const newestSequence = newest ? sequenceOf(newest) : 0;
    const packs: PackId[] = [];
    const indexes: IndexId[] = [];
    for (const [name, { receivedAt }] of this.#objects) {
      const role = roleOf(name);
      if ((role?.kind !== 'pack' && role?.kind !== 'index') || this.#referenced.has(role.id)) continue;
      if (marked.has(name) || swept.has(name)) continue;
      const isSettled =
        receivedAt && committedAt
          ? receivedAt < committedAt
          : (session.state.unlisted[name] ?? newestSequence) < newestSequence;
      if (!isSettled) continue;
      if (packs.length + indexes.length === mostObjectsInRecord) break;
      (role.kind === 'pack' ? packs : indexes).push(role.id);
    }
    const unfinished = this.#stored.unfinished.filter((id) => {
      const received = this.#received.get(id);
      return (
        isSuperseded(id, newest) &&
        !marked.has(snapshotFileName(id, 'SHA256SUMS')) &&
        !swept.has(snapshotFileName(id, 'SHA256SUMS')) &&
        (!received || received.getTime() + graceMs <= now.getTime())
      );
    });
    return { packs, indexes, unfinished };
  }

  /** For storages that do not tell when they received something. */
  #unlisted(): Record<string, number> {
    const { state } = this.#options.session;
    const newest = this.#stored.committed.at(-1)?.id;
    const unlisted: Record<string, number> = {};
    for (const [name, { receivedAt }] of this.#objects) {
      const role = roleOf(name);
      if (receivedAt || (role?.kind !== 'pack' && role?.kind !== 'index') || this.#referenced.has(role.id))
        continue;
      unlisted[name] = state.unlisted[name] ?? (newest ? sequenceOf(newest) : 0);
    }
    return unlisted;
  }

  #count(names: Iterable<string>): ObjectCount {
    let objects = 0;
    let bytes = 0;
    for (const name of names) {
      const stat = this.#objects.get(name);
      if (!stat) continue;
      objects++;
      bytes += stat.sizeBytes;
    }
    return { objects, bytes };
  }
}

function withoutForgotten(
  { committed, unfinished }: StoredSnapshots,
  { forgotten }: KeeperSession,
): StoredSnapshots {
  const stays = (id: SnapshotId): boolean => forgotten.get(sequenceOf(id))?.id !== id;
  return { committed: committed.filter(({ id }) => stays(id)), unfinished: unfinished.filter(stays) };
}

/** The objects that a record names, as storage does; an unfinished snapshot by its list. */
function namesOf(record: object): string[] {
  const { packs = [], indexes = [], unfinished = [] } = record as Partial<Unreferenced>;
  return [
    ...packs.map(packName),
    ...indexes.map(indexName),
    ...unfinished.map((id) => snapshotFileName(id, 'SHA256SUMS')),
  ];
}
