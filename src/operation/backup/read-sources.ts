import { setImmediate } from 'node:timers/promises';
import { asBuffer } from '../../bytes/bytes.ts';
import type { Clock } from '../../clock/clock.ts';
import type { FileEntry } from '../../posix/file-entry.ts';
import type { FileState, ListingRecord } from '../../repository/cache/listing.ts';
import {
  noRanges,
  rangeBytes,
  rangeLength,
  rangePack,
  type ContentRanges,
} from '../../repository/tree/content-ranges.ts';
import { treeLines } from '../../repository/tree/tree-line.ts';
import type { SourceProblem } from '../../source/source-problem.ts';
import { Walk, type WalkOptions } from '../../source/walk.ts';
import { fileStateOf, unsettled } from './file-state.ts';
import type { BackupWorkers } from './backup-workers.ts';
import { ListingMerge, type ListedSegment } from './listing-merge.ts';
import type { BackupCounts, BackupObserver } from './observer.ts';
import { OrderedWindow } from './ordered-window.ts';
import type { PackFacts } from './pack-facts.ts';
import type { TreeDraft } from './tree-draft.ts';
import { fileState, type BatchResult, type FileExtras } from './worker-messages.ts';

export interface ReadSourcesOptions {
  readonly walk: Omit<WalkOptions, 'onProblem'>;
  /** Of the last snapshot. */
  readonly lastListing: string | undefined;
  readonly draft: TreeDraft;
  /** Undefined for a dry run: nothing is read then. */
  readonly workers: BackupWorkers | undefined;
  readonly facts: PackFacts;
  /** Whether a pack may not be referred to any more. */
  readonly isGone: (pack: number) => boolean;
  /** Take nothing for unchanged. */
  readonly force: boolean;
  readonly counts: BackupCounts;
  readonly observer: BackupObserver;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** A batch keeps a worker busy for some 50 ms. */
const batchBytes = 8 * 1024 * 1024;
const batchFiles = 512;
/** Entries that may wait for the content of an earlier one. */
const windowEntries = 4096;
/** The event loop gets its turn after so many entries: answers of workers, Ctrl-C. */
const entriesPerTurn = 1024;
/** Within one tick of the kernel's clock an object can change twice and keep its times. */
const kernelTickMs = 20;

/** A file whose content a worker reads. */
interface PendingFile {
  readonly entry: FileEntry;
  readonly state: FileState;
  readonly hasOtherNames: boolean;
  /** What it does not count as any more if it cannot be read. */
  readonly countedAs: 'filesNew' | 'filesChanged';
  outcome: FileOutcome | undefined;
}

interface FileOutcome {
  readonly state: number;
  readonly size: number;
  readonly ranges: ContentRanges;
  readonly extras: FileExtras | undefined;
}

/** Walks the sources, has read what is new or changed, and writes all lines of the tree into the draft, in order. */
export async function readSources(
  options: ReadSourcesOptions,
): Promise<{ lastSegments: number | undefined }> {
  return await new SourceReading(options).run();
}

class SourceReading {
  readonly #options: ReadSourcesOptions;
  readonly #walk: Walk;
  readonly #merge: ListingMerge | undefined;
  readonly #window = new OrderedWindow(windowEntries);
  readonly #batches = new Set<Promise<void>>();
  #batch: PendingFile[] = [];
  #batchPaths = '';
  #batchNumbers: number[] = [];
  #batchBytes = 0;
  /** Paths of files with several names that are not in the tree: their other names have nothing to refer to. */
  readonly #missingFirstNames = new Set<string>();

  constructor(options: ReadSourcesOptions) {
    this.#options = options;
    this.#walk = new Walk({ ...options.walk, onProblem: (problem) => this.#report(problem) });
    if (options.lastListing !== undefined)
      this.#merge = new ListingMerge(options.lastListing, {
        keepSegment: (segment) => this.#keepSegment(segment),
        keepLines: (records) => this.#keepLines(records),
      });
  }

  async run(): Promise<{ lastSegments: number | undefined }> {
    const { signal, workers } = this.#options;
    try {
      for (let entries = 0; this.#walk.next(); entries++) {
        if (entries % entriesPerTurn === entriesPerTurn - 1) {
          // Where little has changed a batch takes long to fill, and everything behind its first file waits for it.
          if (this.#batches.size === 0) await this.#sendBatch();
          await setImmediate();
          signal.throwIfAborted();
        }
        // The top of the tree has no line of its own.
        if (this.#walk.path === '.') continue;
        this.#visit();
        if (this.#batchBytes >= batchBytes || this.#batch.length >= batchFiles) await this.#sendBatch();
        if (this.#window.isFull) {
          await this.#sendBatch();
          await workers?.orFailure(this.#window.room());
        }
      }
    } finally {
      this.#walk.close();
    }
    await this.#sendBatch();
    await Promise.all(this.#batches);
    const isWhole = this.#merge?.finish() ?? false;
    return { lastSegments: isWhole ? this.#merge!.segments : undefined };
  }

  #visit(): void {
    const { counts, force, observer } = this.#options;
    const { type, path, status } = this.#walk;
    const record = this.#merge?.find(path);
    if (type === 'directory') counts.directories++;
    if (record && !force && this.#isUnchanged(record)) {
      const records = this.#merge!.found();
      if (records.every((line) => this.#isStored(line.ranges))) {
        for (const { ranges } of records) this.#countUse(ranges);
        this.#merge!.keep();
        if (type !== 'directory') counts.filesUnchanged++;
        if (type === 'file') {
          counts.contentBytes += status.size;
          observer.onProgress(status.size, 1);
        }
        return;
      }
    }
    if (record) this.#merge!.drop();
    else this.#merge?.insert();
    const entry = this.#walk.entry();
    if (!entry) {
      if (type === 'directory') counts.directories--;
      return;
    }
    const countedAs = record ? 'filesChanged' : 'filesNew';
    if (type !== 'directory') counts[countedAs]++;
    if (type === 'file') this.#addFile(entry, countedAs);
    else this.#addOther(entry, countedAs);
  }

  #isUnchanged(record: ListingRecord): boolean {
    const { type, status } = this.#walk;
    if (!record.isUnchanged(fileStateOf(status, type))) return false;
    if (type !== 'hardlink') return true;
    // Nothing in its status says that its first name is another one now.
    const entry = this.#walk.entry();
    return (
      entry !== undefined &&
      asBuffer(record.line.head as Buffer).equals(Buffer.from(String(treeLines(entry, noRanges)[0]!.head)))
    );
  }

  #isStored(ranges: ContentRanges): boolean {
    const { isGone } = this.#options;
    for (let index = 0; index * rangeBytes < ranges.length; index++)
      if (isGone(rangePack(ranges, index))) return false;
    return true;
  }

  #countUse(ranges: ContentRanges): void {
    const { facts } = this.#options;
    for (let index = 0; index * rangeBytes < ranges.length; index++)
      facts.use(rangePack(ranges, index), rangeLength(ranges, index));
  }

  #addFile(entry: FileEntry, countedAs: PendingFile['countedAs']): void {
    const { status, realPath } = this.#walk;
    const file: PendingFile = {
      entry,
      state: fileStateOf(status, 'file'),
      hasOtherNames: status.links > 1,
      countedAs,
      outcome: undefined,
    };
    if (!this.#options.workers) {
      this.#options.counts.bytesRead += entry.size;
      this.#options.counts.contentBytes += entry.size;
      return;
    }
    this.#batch.push(file);
    this.#batchPaths += `${realPath}\0`;
    const { fileSystem, inode, ctimeSeconds, ctimeNanoseconds } = status;
    this.#batchNumbers.push(fileSystem, inode, ctimeSeconds, ctimeNanoseconds);
    this.#batchBytes += entry.size;
    this.#window.add({
      weight: 1,
      isReady: () => file.outcome !== undefined,
      emit: () => this.#emitFile(file, file.outcome!),
    });
  }

  #addOther(entry: FileEntry, countedAs: PendingFile['countedAs']): void {
    const { status, type } = this.#walk;
    let state = fileStateOf(status, type);
    const ageMs =
      this.#options.clock.now().getTime() - (state.ctimeSeconds * 1000 + state.ctimeNanoseconds / 1e6);
    if (ageMs <= kernelTickMs) state = unsettled(state);
    const target = this.#walk.linkTarget;
    this.#window.add({
      weight: 1,
      isReady: () => true,
      emit: () => {
        if (target !== undefined && this.#missingFirstNames.has(target)) {
          this.#options.counts[countedAs]--;
          this.#report({
            path: entry.path,
            what: 'unreadable',
            message: 'its first name could not be read',
          });
        } else this.#draft(entry, noRanges, state);
      },
    });
  }

  #emitFile({ entry, state, hasOtherNames, countedAs }: PendingFile, outcome: FileOutcome): void {
    if (outcome.state === fileState.failed) {
      this.#options.counts[countedAs]--;
      if (hasOtherNames) this.#missingFirstNames.add(entry.path.toString('latin1'));
      return;
    }
    const { size, ranges, extras } = outcome;
    const whole: FileEntry = {
      ...entry,
      size,
      ...(extras?.xattrs && {
        xattrs: new Map([...extras.xattrs].map(([name, value]) => [name, asBuffer(value)])),
      }),
      ...(extras?.holes && { holes: extras.holes }),
    };
    this.#options.counts.contentBytes += size;
    this.#countUse(ranges);
    this.#draft(whole, ranges, outcome.state === fileState.settled ? state : unsettled(state));
  }

  #draft(entry: FileEntry, ranges: ContentRanges, state: FileState): void {
    if (this.#options.workers) this.#options.draft.add(treeLines(entry, ranges), state);
  }

  #keepSegment(segment: ListedSegment): void {
    const { location } = segment;
    const isStored = location !== undefined && this.#isStored(location);
    const { records } = segment;
    this.#add(records.length, () => {
      this.#options.draft.keepSegment(isStored ? segment : { ...segment, location: undefined });
    });
  }

  #keepLines(records: readonly ListingRecord[]): void {
    this.#add(records.length, () => this.#options.draft.keepLines(records));
  }

  #add(weight: number, emit: () => void): void {
    if (this.#options.workers) this.#window.add({ weight, isReady: () => true, emit });
  }

  async #sendBatch(): Promise<void> {
    const { workers } = this.#options;
    if (this.#batch.length === 0 || !workers) return;
    const files = this.#batch;
    const job = {
      kind: 'files',
      paths: this.#batchPaths,
      numbers: Float64Array.from(this.#batchNumbers),
    } as const;
    this.#batch = [];
    this.#batchPaths = '';
    this.#batchNumbers = [];
    this.#batchBytes = 0;
    await workers.ready();
    this.#options.signal.throwIfAborted();
    const done = workers.run(job).then((result) => this.#take(files, result));
    this.#batches.add(done);
    // The failure is that of all workers, and whoever waits for them hears of it.
    done.catch(() => {}).finally(() => this.#batches.delete(done));
  }

  #take(files: readonly PendingFile[], result: BatchResult): void {
    const { counts, observer } = this.#options;
    const extras = new Map(result.extras.map((extra) => [extra.index, extra]));
    for (const { index, what, message } of result.problems)
      this.#report({ path: files[index]!.entry.path, what, message });
    const ranges = asBuffer(result.ranges);
    let at = 0;
    for (const [index, file] of files.entries()) {
      const end = at + result.counts[index]! * rangeBytes;
      file.outcome = {
        state: result.states[index]!,
        size: result.sizes[index]!,
        ranges: ranges.subarray(at, end),
        extras: extras.get(index),
      };
      at = end;
    }
    counts.bytesRead += result.bytesRead;
    counts.bytesNew += result.bytesNew;
    observer.onProgress(result.bytesRead, files.length);
    this.#window.advance();
  }

  #report(problem: SourceProblem): void {
    this.#options.counts.problems++;
    this.#options.observer.onProblem(problem);
  }
}
