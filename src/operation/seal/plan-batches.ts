import { accessSync, constants } from 'node:fs';
import { concatBytes } from '../../bytes/bytes.ts';
import { blockBytes } from '../../compression/compression.ts';
import { AccountNames } from '../../posix/account-names.ts';
import { dataExtents } from '../../posix/holes.ts';
import { SourceFile } from '../../source/source-file.ts';
import { problemOf, type ReportSourceProblem } from '../../source/source-problem.ts';
import type { Walk } from '../../source/walk.ts';
import { blockSize, paddingAfter } from '../../tar/tar-header.ts';
import { canArchive, encodeTarHeader, endOfArchive } from '../../tar/tar-writer.ts';
import type { Batch, BatchItem } from './batch.ts';
import { describeFile } from './describe-file.ts';

/** A file up to this size is never divided: rather a batch stays a little smaller. */
const undividedBytes = 1 << 20;
/** What the headers of a usual file take: pax header, its records, the header itself. */
const usualHeaderBytes = 3 * blockSize;

export interface PlannedBatch extends Batch {
  /** To be called when the batch and all before it are sealed. */
  finish(): void;
}

export interface BatchPlanOptions {
  readonly walk: Walk;
  readonly onProblem: ReportSourceProblem;
  /** Objects that do not belong into the archive: the archive itself. */
  readonly isOwnOutput: (walk: Walk) => boolean;
  /** A socket, which no tar can hold and no program misses. */
  readonly onSocket: () => void;
}

/**
 * Turns a walk into batches of about one block each, in the order of the walk. Directories, links and devices become
 * tar headers here; files are left to the workers, and large ones are opened here and divided.
 */
export class BatchPlan {
  readonly #options: BatchPlanOptions;
  readonly #accounts = new AccountNames();
  readonly #openFiles = new Set<SourceFile>();
  #items: BatchItem[] = [];
  #ready: Uint8Array[] = [];
  #bytes = 0;
  #atFinish: (() => void)[] = [];

  constructor(options: BatchPlanOptions) {
    this.#options = options;
  }

  /** All batches; the last one ends the archive. */
  *batches(): Generator<PlannedBatch> {
    const { walk } = this.#options;
    while (walk.next()) {
      if (walk.type === 'file') yield* this.#addFile();
      else this.#addOther();
      if (this.#bytes >= blockBytes) yield this.#take();
    }
    this.#addReady(endOfArchive);
    yield this.#take();
  }

  /** Closes what is open. Needed only if the batches are given up before their end. */
  close(): void {
    for (const file of this.#openFiles) file.close();
    this.#openFiles.clear();
  }

  #addOther(): void {
    const { walk, onSocket, onProblem } = this.#options;
    if (walk.status.type === 'socket') {
      onSocket();
      return;
    }
    // Its first name could not be read either: the link would lead nowhere.
    if (walk.type === 'hardlink' && walk.status.isFile) {
      try {
        accessSync(Buffer.from(walk.realPath, 'latin1'), constants.R_OK);
      } catch (error) {
        onProblem(problemOf(Buffer.from(walk.path, 'latin1'), error));
        return;
      }
    }
    const entry = walk.entry();
    if (entry && canArchive(entry.type)) this.#addReady(encodeTarHeader(entry));
  }

  *#addFile(): Generator<PlannedBatch> {
    const { walk, isOwnOutput } = this.#options;
    if (isOwnOutput(walk)) return;
    const { status, path, realPath } = walk;
    const { size, fileSystem, inode } = status;
    const bytes = usualHeaderBytes + size + paddingAfter(size);
    const room = blockBytes - this.#bytes;
    if (bytes > room && size > undividedBytes) {
      yield* this.#addLargeFile();
      return;
    }
    if (bytes > room && this.#bytes > 0) yield this.#take();
    this.#endReady();
    this.#items.push({ path, realPath, fileSystem, inode, size });
    this.#bytes += bytes;
  }

  *#addLargeFile(): Generator<PlannedBatch> {
    const { walk, onProblem } = this.#options;
    const { path, realPath } = walk;
    const file = new SourceFile();
    let entry;
    try {
      file.open(realPath, walk.status);
      entry = describeFile(path, file, this.#accounts);
    } catch (error) {
      file.close();
      onProblem(problemOf(Buffer.from(path, 'latin1'), error));
      return;
    }
    this.#openFiles.add(file);
    this.#addReady(encodeTarHeader(entry));
    let stored = 0;
    for (const [start, length] of dataExtents(entry.size, entry.holes ?? [])) {
      stored += length;
      for (let position = start; position < start + length;) {
        if (this.#bytes >= blockBytes) yield this.#take();
        const piece = Math.min(start + length - position, blockBytes - this.#bytes);
        this.#endReady();
        this.#items.push({ path, fd: file.fd, position, length: piece });
        this.#bytes += piece;
        position += piece;
      }
    }
    this.#addReady(Buffer.alloc(paddingAfter(stored)));
    this.#atFinish.push(() => {
      const changes = file.changes();
      if (changes !== undefined)
        onProblem({ path: Buffer.from(path, 'latin1'), what: 'changed', message: changes });
      file.close();
      this.#openFiles.delete(file);
    });
  }

  #addReady(bytes: Uint8Array): void {
    this.#ready.push(bytes);
    this.#bytes += bytes.length;
  }

  #endReady(): void {
    if (this.#ready.length > 0) this.#items.push(concatBytes(this.#ready));
    this.#ready = [];
  }

  #take(): PlannedBatch {
    this.#endReady();
    const items = this.#items;
    const atFinish = this.#atFinish;
    this.#items = [];
    this.#atFinish = [];
    this.#bytes = 0;
    return { items, finish: () => atFinish.forEach((call) => call()) };
  }
}
