import type { Compression } from '../../compression/compression.ts';
import type { SourceProblem } from '../../source/source-problem.ts';

/** A file that a worker opens, describes and reads whole. Paths are latin1 strings, one character per byte. */
export interface WholeFile {
  readonly path: string;
  readonly realPath: string;
  readonly fileSystem: number;
  readonly inode: number;
  /** When the walk saw it. It may be larger by now, within bounds. */
  readonly size: number;
}

/** Some content of a file that the main thread has opened and described: a large one is shared by several batches. */
export interface FileRange {
  readonly path: string;
  readonly fd: number;
  readonly position: number;
  readonly length: number;
}

/** In the order of the archive: tar bytes that are ready, or files to be read. */
export type BatchItem = Uint8Array | WholeFile | FileRange;

/** What one worker turns into some blocks of the archive. */
export interface Batch {
  readonly items: readonly BatchItem[];
}

/** What every worker is started with. */
export interface SealSettings {
  readonly compression: Compression;
  readonly level: number;
}

/** The answer to a batch. */
export interface SealedBatch {
  /** Compressed, one piece after the other. */
  readonly blocks: readonly Uint8Array<ArrayBuffer>[];
  readonly tarBytes: number;
  readonly contentBytes: number;
  /** Files that were stored, be it with problems. */
  readonly files: number;
  readonly problems: readonly SourceProblem[];
}
