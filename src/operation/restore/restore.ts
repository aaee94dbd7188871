import { readdirSync } from 'node:fs';
import { errorCode } from '../../posix/system-call-error.ts';
import { SalvageError, type ErrorCode } from '../../errors/salvage-error.ts';
import type { FileEntry } from '../../posix/file-entry.ts';
import { TargetDirectory, type Overwrite } from '../../posix/target-directory.ts';
import type { SuspendedFile } from '../../posix/target-file.ts';
import { showPath } from '../../posix/target-path.ts';
import type { PackId } from '../../repository/ids.ts';
import { digestInName, packName } from '../../repository/layout.ts';
import {
  countRanges,
  rangeDigest,
  rangeLength,
  rangeOffset,
  rangePack,
  type ContentRanges,
} from '../../repository/tree/content-ranges.ts';
import type { TreeRecord } from '../../repository/tree/tree-decoder.ts';
import { leadsForward } from '../../repository/tree/forward-link.ts';
import { isBelow } from '../../repository/tree/tree-path.ts';
import type { Storage } from '../../storage/storage.ts';
import type { LostSegment, OpenSnapshot } from '../open-snapshot.ts';
import { contentBytes, ContentLayout, type Piece } from '../reading/content-layout.ts';
import type { SealedObjects } from '../reading/sealed-objects.ts';
import { workerCount } from '../worker/worker-count.ts';
import { WorkerPool } from '../worker/worker-pool.ts';
import { readFileBatch, type BatchFile, type PlacedRange, type SpreadPart } from './file-batch.ts';
import { RestoreWindow } from './restore-window.ts';
import type {
  LostFile,
  PackJob,
  RestoreAnswer,
  RestoreJob,
  RestoreSettings,
  TargetSettings,
} from './restore-messages.ts';
import type { Selection } from './selection.ts';

export interface RestoreOptions {
  readonly target: string;
  readonly selection: Selection;
  /** Default 'if-different', which also takes up an interrupted restore where it was. */
  readonly overwrite?: Overwrite;
  readonly numericIds?: boolean;
  /** Default: as root. */
  readonly owners?: boolean;
  readonly allowDevices?: boolean;
  /** Read again what was written, and compare. */
  readonly check?: boolean;
  /** Bytes that the buffers of all workers together may take. */
  readonly memoryBytes?: number;
  readonly threads?: number;
}

/** An object of the file system that could not be restored. */
export interface LostEntry {
  readonly path: Buffer;
  readonly code: ErrorCode;
  /** A whole sentence that names it. */
  readonly message: string;
}

/** Told of what happens; nothing here decides anything. */
export interface RestoreObserver {
  /** Not restored: the run goes on with everything else. */
  onLost(lost: LostEntry): void;
  /** Restored, but not in every respect as it was. */
  onProblem(problem: { readonly path: Buffer; readonly what: string; readonly message: string }): void;
  /** A pack is damaged, whether or not all that was needed could be taken from it. */
  onDamage(message: string): void;
  onProgress(bytes: number, files: number): void;
}

export interface RestoreSummary {
  /** Regular files written. */
  files: number;
  directories: number;
  /** Symbolic links, hard links, devices and the like. */
  others: number;
  /** Bytes of content written. */
  bytes: number;
  /** Left as they were, because they are right or the overwrite policy says so. */
  kept: number;
  /** Not restored. */
  lost: number;
  /** Restored, but with an owner, attribute or time that could not be set. */
  problems: number;
  /** Damaged packs come upon. */
  damagedPacks: number;
  /** Files read again and found right. */
  checked: number;
}

interface SpreadFile {
  readonly number: number;
  readonly entry: FileEntry;
  readonly suspended: SuspendedFile;
  failure: { readonly code: ErrorCode; readonly message: string } | undefined;
}

/** The file whose lines are being read. */
interface CurrentFile {
  /** Its path in the snapshot. */
  readonly source: Buffer;
  readonly entry: FileEntry;
  readonly layout: ContentLayout;
  /** Undefined for one that lies in one pack, and for one that is not wanted any more. */
  readonly spread: SpreadFile | undefined;
  /** Bytes of which no line has told yet where they are. */
  missingBytes: number;
}

const defaultMemoryBytes = 96 * 1024 * 1024;
/** What a worker needs besides the pack: frames in the making. */
const frameBytesPerWorker = 12 * 1024 * 1024;

/**
 * Restores the wanted part of a snapshot below the target. Everything that can be restored is; what cannot is told to the
 * observer, entry by entry. @throws failed if the target cannot be written at all; interrupted; what an identity throws
 */
export async function restore(
  storage: Storage,
  snapshot: OpenSnapshot,
  objects: SealedObjects,
  options: RestoreOptions,
  observer: RestoreObserver,
  signal?: AbortSignal,
): Promise<RestoreSummary> {
  await using run = new RestoreRun(storage, snapshot, objects, options, observer, signal);
  return await run.run();
}

class RestoreRun {
  readonly #snapshot: OpenSnapshot;
  readonly #objects: SealedObjects;
  readonly #options: RestoreOptions;
  readonly #observer: RestoreObserver;
  readonly #signal: AbortSignal | undefined;
  readonly #target: TargetDirectory;
  /** Gives directories their times when all that is in them is complete. */
  readonly #settler: TargetDirectory;
  readonly #pool: WorkerPool<RestoreJob, RestoreAnswer>;
  readonly #threads: number;
  readonly #wholePackBytes: number;
  readonly #isRemote: boolean;
  readonly #hasVersions: boolean;
  readonly #summary: RestoreSummary = {
    files: 0,
    directories: 0,
    others: 0,
    bytes: 0,
    kept: 0,
    lost: 0,
    problems: 0,
    damagedPacks: 0,
    checked: 0,
  };
  #window = new RestoreWindow();
  #current: CurrentFile | undefined;
  /** Everything below this path was not there before. '' for all, undefined where that is not known. */
  #freshBelow: Buffer | undefined;
  #spreadCount = 0;
  #checkedLast: FileEntry | undefined;
  /** With `check`: what is not there need not be looked at. */
  readonly #lostPaths = new Set<string>();
  #failure: unknown;
  readonly #spreads = new Map<number, SpreadFile>();
  /** Hard links to files that are not wanted themselves, by the stored path of the file. */
  readonly #orphans = new Map<string, FileEntry[]>();
  #dispatched: Promise<void> = Promise.resolve();
  #settled: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(
    storage: Storage,
    snapshot: OpenSnapshot,
    objects: SealedObjects,
    options: RestoreOptions,
    observer: RestoreObserver,
    signal: AbortSignal | undefined,
  ) {
    this.#snapshot = snapshot;
    this.#objects = objects;
    this.#options = options;
    this.#observer = observer;
    this.#signal = signal;
    const { target, overwrite = 'if-different', numericIds = false, allowDevices = false, owners } = options;
    const shared: TargetSettings = { target, overwrite, numericIds, allowDevices, owners };
    const targetOptions = {
      overwrite,
      numericIds,
      allowDevices,
      ...(owners !== undefined && { owners }),
      settle: 'by-caller',
      onProblem: (problem: { path: Buffer; what: string; message: string }): void => this.#problem(problem),
    } as const;
    this.#target = TargetDirectory.open(target, targetOptions);
    const { madeSinceNs } = this.#target;
    this.#settler = TargetDirectory.open(target, { ...targetOptions, madeSinceNs });
    if (readdirSync(target).length === 0) this.#freshBelow = Buffer.alloc(0);
    this.#isRemote = storage.objectsFolder === undefined;
    this.#hasVersions = storage.versions !== undefined;
    this.#threads = workerCount(storage, options.threads);
    const memoryBytes = options.memoryBytes ?? defaultMemoryBytes;
    this.#wholePackBytes = memoryBytes / this.#threads - frameBytesPerWorker;
    const settings: RestoreSettings = { ...shared, madeSinceNs };
    this.#pool = new WorkerPool({
      module: new URL('./restore-worker.ts', import.meta.url),
      threads: this.#threads,
      settings,
      storage,
      ...(signal && { signal }),
    });
  }

  async run(): Promise<RestoreSummary> {
    const paths = this.#options.selection.paths ?? [undefined];
    for (const path of paths) {
      const reading = {
        ...(path && { path }),
        ...(this.#signal && { signal: this.#signal }),
        onLost: (lost: LostSegment) => this.#loseSegment(lost),
      };
      for await (const { records } of this.#snapshot.readTree(reading)) {
        for (const record of records) this.#plan(record);
        if (this.#window.isFull) await this.#flush();
      }
      this.#endFile();
    }
    await this.#planOrphans();
    await this.#flush();
    await this.#dispatched;
    await this.#settled;
    this.#close();
    return this.#summary;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
    await Promise.allSettled([this.#dispatched, this.#settled]);
    this.#close();
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#settler.close();
    this.#target.close();
  }

  // ---- Planning: one entry after the other, on this thread

  #plan(record: TreeRecord): void {
    const { entry } = record;
    if (!entry) {
      if (this.#current?.source.equals(record.path)) this.#addContent(this.#current, record);
      return;
    }
    this.#endFile();
    const path = this.#options.selection.map(entry.path, entry.type === 'directory');
    if (!path) return;
    const mapped = path === entry.path ? entry : { ...entry, path };
    try {
      if (leadsForward(entry))
        throw new SalvageError(
          'damaged',
          `Cannot restore the hard link "${showPath(mapped.path)}": its first name would come after it`,
        );
      switch (entry.type) {
        case 'file':
          return this.#planFile(mapped, record);
        case 'directory':
          return this.#planDirectory(mapped);
        case 'hardlink':
          return this.#planHardLink(mapped);
        default:
          this.#count(this.#target.make(mapped));
      }
    } catch (error) {
      this.#lose(mapped.path, error);
    }
  }

  #planDirectory(entry: FileEntry): void {
    const outcome = this.#target.makeDirectory(entry);
    this.#summary.directories++;
    if (outcome !== 'kept' && !this.#isFresh(entry.path)) this.#freshBelow = entry.path;
    if (outcome !== 'kept' || this.#options.overwrite !== 'never') this.#window.directories.push(entry);
  }

  #planHardLink(entry: FileEntry): void {
    const target = this.#options.selection.mapAny(entry.target!);
    if (target) {
      this.#window.hardLinks.push({ ...entry, target });
      return;
    }
    const key = entry.target!.toString('latin1');
    const links = this.#orphans.get(key);
    if (links) links.push(entry);
    else this.#orphans.set(key, [entry]);
  }

  #planFile(entry: FileEntry, record: TreeRecord): void {
    if (!this.#isFresh(entry.path) && this.#target.keepsExisting(entry)) {
      this.#summary.kept++;
      // What was there before is checked as well: its time and size alone say that it is right.
      if (this.#options.check) this.#beginContent(entry, record, undefined);
      return;
    }
    const isWhole = contentBytes(record) === entry.size;
    if (entry.size === 0) {
      this.#countFile(this.#target.writeFile(entry, new Uint8Array(0)));
      return;
    }
    if (isWhole && record.holes.length === 0 && isInOnePack(record.ranges)) {
      this.#addWholeFile(entry, record.ranges);
      return;
    }
    const file = this.#target.createFile(entry);
    if (!file) {
      this.#summary.kept++;
      return;
    }
    const number = this.#spreadCount++;
    const spread: SpreadFile = { number, entry, suspended: file.suspend(), failure: undefined };
    this.#spreads.set(number, spread);
    this.#beginContent(entry, record, spread);
  }

  #beginContent(entry: FileEntry, record: TreeRecord, spread: SpreadFile | undefined): void {
    const layout = new ContentLayout(entry.path);
    this.#current = { source: record.path, entry, layout, spread, missingBytes: entry.size };
    this.#addContent(this.#current, record);
  }

  #addWholeFile(entry: FileEntry, ranges: ContentRanges): void {
    const pack = rangePack(ranges, 0);
    const batch = this.#window.batch(pack);
    batch.addFile(entry);
    let position = 0;
    for (let index = 0; index < countRanges(ranges); index++) {
      const length = rangeLength(ranges, index);
      const digest = rangeDigest(ranges, index);
      batch.addRange(rangeOffset(ranges, index), length, digest, position, undefined);
      if (this.#options.check) this.#checkLater(entry, length, digest, position, undefined);
      position += length;
    }
  }

  #addContent(current: CurrentFile, record: TreeRecord): void {
    try {
      current.missingBytes -= contentBytes(record);
      current.layout.add(record, this.#placer(current));
    } catch (error) {
      if (!(error instanceof SalvageError)) throw error;
      if (current.spread) current.spread.failure ??= error;
    }
  }

  #placer(current: CurrentFile): Parameters<ContentLayout['add']>[1] {
    const { entry, spread } = current;
    const part: SpreadPart | undefined = spread && { number: spread.number, suspended: spread.suspended };
    let lastPack = -1;
    return (ranges, index, position, pieces) => {
      const length = rangeLength(ranges, index);
      const digest = rangeDigest(ranges, index);
      if (part) {
        const pack = rangePack(ranges, index);
        const batch = this.#window.batch(pack);
        if (pack !== lastPack) batch.addFile(entry, part);
        lastPack = pack;
        batch.addRange(rangeOffset(ranges, index), length, digest, position, pieces);
      }
      if (this.#options.check) this.#checkLater(entry, length, digest, position, pieces);
    };
  }

  #checkLater(
    entry: FileEntry,
    length: number,
    digest: Uint8Array,
    position: number,
    pieces: readonly Piece[] | undefined,
  ): void {
    if (this.#checkedLast !== entry) this.#window.toCheck.addFile(entry);
    this.#checkedLast = entry;
    this.#window.toCheck.addRange(0, length, digest, position, pieces);
  }

  #endFile(): void {
    const current = this.#current;
    if (!current) return;
    this.#current = undefined;
    current.layout.finish(this.#placer(current));
    const { spread, missingBytes } = current;
    if (!spread) return;
    const message = `Cannot restore "${showPath(current.entry.path)}": the snapshot does not tell where ${missingBytes} of its bytes are`;
    if (missingBytes > 0) spread.failure ??= { code: 'damaged', message };
    this.#window.complete.push(spread.number);
  }

  /** Hard links whose first name is not wanted: the content comes under the name of the first of them. */
  async #planOrphans(): Promise<void> {
    for (const [target, links] of this.#orphans) {
      const [first, ...others] = links as [FileEntry, ...FileEntry[]];
      try {
        const records = await this.#snapshot.find(Buffer.from(target, 'latin1'), this.#signal);
        const entry = records?.[0]?.entry;
        if (!entry || entry.type === 'hardlink' || entry.type === 'directory')
          throw new SalvageError(
            'damaged',
            `Cannot restore the hard link "${first.path.toString()}": its target is not in the snapshot`,
          );
        if (entry.type === 'file') {
          this.#planFile({ ...entry, path: first.path }, records[0]!);
          for (const record of records.slice(1)) if (this.#current) this.#addContent(this.#current, record);
          this.#endFile();
        } else this.#count(this.#target.make({ ...entry, path: first.path }));
        for (const link of others) this.#window.hardLinks.push({ ...link, target: first.path });
      } catch (error) {
        this.#lose(first.path, error);
        for (const link of others) this.#lose(link.path, error);
      }
      if (this.#window.isFull) await this.#flush();
    }
  }

  #isFresh(path: Buffer): boolean {
    const fresh = this.#freshBelow;
    return fresh !== undefined && (fresh.length === 0 || isBelow(path, fresh));
  }

  // ---- Windows: planned, dispatched, settled; the next one is planned while this one is dispatched

  async #flush(): Promise<void> {
    const window = this.#window;
    this.#window = new RestoreWindow();
    this.#checkedLast = undefined;
    if (this.#failure !== undefined) throw this.#failure;
    await this.#dispatched;
    this.#dispatched = this.#dispatch(window);
    this.#dispatched.catch(() => {});
  }

  async #dispatch(window: RestoreWindow): Promise<void> {
    const answers: Promise<void>[] = [];
    this.#objects.expect(
      [...window.batches.keys()]
        .map((number) => this.#snapshot.packs.idOf(number)!)
        .filter((pack) => this.#snapshot.lists(pack))
        .map(packName),
    );
    for (const [pack, writer] of window.batches) {
      await this.#pool.ready();
      const batch = writer.finish();
      const id = this.#snapshot.packs.idOf(pack)!;
      const job = await this.#packJob(id, writer.contentBytes, batch);
      const answer = 'kind' in job ? this.#carryOut(job, batch) : this.#takeHealed(job, id);
      // It shows at the next window, or when this one is settled.
      answer.catch((error: unknown) => {
        this.#failure ??= error;
      });
      answers.push(answer);
    }
    const before = this.#settled;
    this.#settled = (async () => {
      await before;
      await Promise.all(answers);
      await this.#settle(window);
    })();
    this.#settled.catch(() => {});
  }

  async #carryOut(job: PackJob, batch: Uint8Array<ArrayBuffer>): Promise<void> {
    const answer = await this.#pool.run(job, [batch.buffer]);
    const { kept, problems, batch: spare } = answer;
    if (!spare || !this.#hasVersions || !(await this.#objects.recover(packName(job.pack)))) {
      await this.#takeHealed(answer, job.pack);
      return;
    }
    const again = await this.#packJob(job.pack, Infinity, spare);
    const second = 'kind' in again ? await this.#pool.run(again) : again;
    // What the first attempt wrote the second one keeps, or writes again.
    const written = second.files + second.kept - kept;
    await this.#takeHealed(
      { ...second, files: written, kept, problems: [...problems, ...second.problems] },
      job.pack,
    );
  }

  /** Takes an answer after having looked in other packs for what is lost with this one. */
  async #takeHealed(answer: RestoreAnswer, pack: PackId): Promise<void> {
    const { batch } = answer;
    const lost = new Map(
      answer.lost.filter(({ code }) => code === 'damaged').map((file) => [keyOfLost(file), file]),
    );
    if (!batch || lost.size === 0) {
      this.#take(answer);
      return;
    }
    const healed = new Set<LostFile>();
    let { files, kept, bytes } = answer;
    for (const file of readFileBatch(batch)) {
      this.#signal?.throwIfAborted();
      const entry = lost.get(keyOfLost({ path: file.entry.path, spread: file.spread?.number }));
      if (!entry) continue;
      try {
        const outcome = await this.#writeFromElsewhere(file, packName(pack));
        if (outcome === 'nowhere') continue;
        healed.add(entry);
        if (outcome === 'kept') kept++;
        else {
          if (!file.spread) files++;
          for (const { length } of file.ranges) bytes += length;
        }
      } catch (error) {
        if (!(error instanceof SalvageError) || !isPackTrouble(error)) throw error;
      }
    }
    this.#take({ ...answer, files, kept, bytes, lost: answer.lost.filter((file) => !healed.has(file)) });
  }

  async #writeFromElsewhere(
    { entry, ranges, spread }: BatchFile,
    pack: string,
  ): Promise<'written' | 'kept' | 'nowhere'> {
    const read = async ({ offset, length, digest }: PlacedRange): Promise<Uint8Array> =>
      (await this.#objects.readElsewhere(pack, length, digest)) ??
      (await this.#objects.readBlob(pack, offset, length, digest));
    const [first] = ranges;
    // Where the first is nowhere, most likely nothing is: nothing is begun then.
    if (!(await this.#objects.readElsewhere(pack, first!.length, first!.digest))) return 'nowhere';
    const target = spread ? this.#target.resumeFile(entry, spread.suspended) : this.#target.createFile(entry);
    if (!target) return 'kept';
    try {
      for (const range of ranges) {
        const blob = await read(range);
        for (const { start, length, position } of range.pieces ?? [
          { start: 0, length: range.length, position: range.position },
        ])
          target.write(blob.subarray(start, start + length), position);
      }
    } catch (error) {
      if (spread) target.suspend();
      else target.abandon();
      throw error;
    }
    if (spread) target.suspend();
    else target.finish();
    return 'written';
  }

  async #packJob(
    pack: PackId,
    wantedBytes: number,
    batch: Uint8Array<ArrayBuffer>,
  ): Promise<PackJob | RestoreAnswer> {
    try {
      if (!this.#snapshot.lists(pack))
        throw new SalvageError(
          'damaged',
          `Cannot trust "${packName(pack)}": the signed list does not have it`,
        );
      const { head, name, sizeBytes, headerBytes, fileKey } = await this.#objects.open(packName(pack));
      // Taken whole, the stored bytes are hashed; by frames, the wanted ones are: whichever is less. From afar, what
      // counts is the bytes on the way.
      const isWorthIt = wantedBytes >= sizeBytes * (this.#isRemote ? 1 : 0.75);
      return {
        kind: 'pack',
        pack,
        digest: digestInName(name) ?? pack,
        object: { name, sizeBytes, headerBytes, fileKey },
        head: Uint8Array.from(head.subarray(0, headerBytes + 16)),
        whole: isWorthIt && sizeBytes <= this.#wholePackBytes,
        batch,
      };
    } catch (error) {
      if (!(error instanceof SalvageError) || !isPackTrouble(error)) throw error;
      const { code, message } = error;
      const lost = [...readFileBatch(batch)].map(({ entry, spread }) => ({
        path: Uint8Array.from(entry.path),
        spread: spread?.number,
        code,
        message,
      }));
      const nothing = { files: 0, kept: 0, bytes: 0, problems: [], fatal: undefined };
      return { ...nothing, lost, damage: message, batch: this.#snapshot.lists(pack) ? batch : undefined };
    }
  }

  #take(answer: RestoreAnswer): void {
    // What a worker could not read then is not lost: nobody waited for it.
    this.#signal?.throwIfAborted();
    const { files, kept, bytes, lost, problems, damage, fatal } = answer;
    this.#summary.files += files;
    this.#summary.kept += kept;
    this.#summary.bytes += bytes;
    for (const { path, what, message } of problems) this.#problem({ path: Buffer.from(path), what, message });
    if (damage !== undefined) {
      this.#summary.damagedPacks++;
      this.#observer.onDamage(damage);
    }
    for (const { path, spread, code, message } of lost) {
      if (spread === undefined) this.#loseBecause(Buffer.from(path), code, message);
      else this.#failSpread(spread, { code, message });
    }
    if (fatal !== undefined) throw new SalvageError('failed', fatal);
    this.#observer.onProgress(bytes, files);
  }

  /** All packs of this window and of those before it are done. */
  async #settle(window: RestoreWindow): Promise<void> {
    for (const number of window.complete) this.#finishSpread(number);
    for (const link of window.hardLinks) {
      try {
        const isKept = !this.#isFresh(link.path) && this.#keepsLink(link);
        if (isKept) this.#summary.kept++;
        else this.#count(this.#target.make(link));
      } catch (error) {
        this.#lose(link.path, error);
      }
    }
    if (window.toCheck.files > 0) await this.#check(window);
    for (const directory of window.directories) {
      try {
        this.#settler.settleDirectory(directory);
      } catch (error) {
        const { message } = error as Error;
        this.#problem({ path: directory.path, what: 'owner, mode and time', message });
      }
    }
  }

  #keepsLink(link: FileEntry): boolean {
    const { overwrite } = this.#options;
    return (overwrite === 'never' || overwrite === 'if-newer') && this.#target.keepsExisting(link);
  }

  async #check(window: RestoreWindow): Promise<void> {
    const batch = window.toCheck.finish();
    await this.#pool.ready();
    const { files, bytes, lost } = await this.#pool.run({ kind: 'check', batch }, [batch.buffer]);
    this.#summary.checked += files;
    this.#observer.onProgress(bytes, 0);
    for (const { path, code, message } of lost)
      if (!this.#lostPaths.has(Buffer.from(path).toString('latin1')))
        this.#loseBecause(Buffer.from(path), code, message);
  }

  #finishSpread(number: number): void {
    const spread = this.#spreads.get(number)!;
    this.#spreads.delete(number);
    const { entry, suspended, failure } = spread;
    try {
      const file = this.#target.resumeFile(entry, suspended);
      if (failure) {
        file.abandon();
        this.#loseBecause(entry.path, failure.code, failure.message);
      } else {
        file.finish();
        this.#summary.files++;
        this.#observer.onProgress(0, 1);
      }
    } catch (error) {
      this.#lose(entry.path, error);
    }
  }

  // ---- What happened

  #failSpread(number: number, { code, message }: { code: ErrorCode; message: string }): void {
    const spread = this.#spreads.get(number);
    if (spread) spread.failure ??= { code, message };
  }

  #count(outcome: 'made' | 'replaced' | 'kept'): void {
    if (outcome === 'kept') this.#summary.kept++;
    else this.#summary.others++;
  }

  #countFile(outcome: 'made' | 'replaced' | 'kept'): void {
    if (outcome === 'kept') this.#summary.kept++;
    else this.#summary.files++;
  }

  #lose(path: Buffer, error: unknown): void {
    if (!(error instanceof SalvageError)) throw error;
    this.#loseBecause(path, error.code, error.message);
    if (['ENOSPC', 'EDQUOT', 'EROFS'].includes(errorCode(error.cause))) throw error;
  }

  #loseBecause(path: Buffer, code: ErrorCode, message: string): void {
    this.#summary.lost++;
    if (this.#options.check) this.#lostPaths.add(path.toString('latin1'));
    const shown = showPath(path);
    const isNamed = message.includes(`"${shown}"`);
    const sentence = isNamed ? message : `Cannot restore "${shown}": ${message.replace(/^Cannot/, 'cannot')}`;
    this.#observer.onLost({ path, code, message: sentence });
  }

  #loseSegment({ first, next, error }: LostSegment): void {
    if (!(error instanceof SalvageError) || !isPackTrouble(error)) throw error;
    const until = next ? `to before "${next.toString()}"` : 'to the end';
    this.#loseBecause(
      first,
      error.code,
      `Cannot restore what lies from "${first.toString()}" ${until}: ${error.message}`,
    );
    // If the lost stretch had more of this file, that is what it misses now.
    this.#endFile();
  }

  #problem(problem: { readonly path: Buffer; readonly what: string; readonly message: string }): void {
    this.#summary.problems++;
    this.#observer.onProblem(problem);
  }
}

function keyOfLost({ path, spread }: Pick<LostFile, 'path' | 'spread'>): string {
  return spread === undefined ? Buffer.from(path).toString('latin1') : `/${spread}`;
}

/** Trouble with one object, which leaves the others alone. */
function isPackTrouble({ code, details }: SalvageError): boolean {
  return code === 'damaged' || code === 'no-identity-match' || (code === 'failed' && 'object' in details);
}

function isInOnePack(ranges: ContentRanges): boolean {
  if (ranges.length === 0) return false;
  const pack = rangePack(ranges, 0);
  for (let index = 1; index < countRanges(ranges); index++)
    if (rangePack(ranges, index) !== pack) return false;
  return true;
}
