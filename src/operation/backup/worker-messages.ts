import type { Envelope } from '../../age/envelope.ts';
import type { Extent } from '../../posix/file-entry.ts';
import type { BlobTableShare } from '../../repository/cache/blob-table.ts';
import type { PackId } from '../../repository/ids.ts';
import type { SourceProblemKind } from '../../source/source-problem.ts';
import type { StagedObject, StageSpec } from '../../storage/staged-object.ts';

/** What a worker is started with. */
export interface WorkerSetup {
  readonly chunkerSeed: Uint8Array;
  readonly stageSpec: StageSpec;
  readonly packTargetBytes: number;
  readonly level: number;
  readonly blobTable: BlobTableShare;
  /** By pack number: 1 where a pack of an earlier run must not be referred to any more. */
  readonly gonePacks: Uint8Array<SharedArrayBuffer>;
}

/** Files to be read, in order. */
export interface FileBatch {
  readonly kind: 'files';
  /** Paths on this machine, latin1, each followed by a NUL: one flat string passes between threads at no cost. */
  readonly paths: string;
  /** `numbersPerFile` for each file: see `FileNumber`. */
  readonly numbers: Float64Array<ArrayBuffer>;
}

/** What the walk knew of a file, by its place in `FileBatch.numbers`. */
export const fileNumber = { fileSystem: 0, inode: 1, ctimeSeconds: 2, ctimeNanoseconds: 3 } as const;
export const numbersPerFile = 4;

/** A stream to be read; its bytes are supplied as StreamData. */
export interface StreamJob {
  readonly kind: 'stream';
}

/** Close the pack that is being filled, if there is one. The answer is that to a batch of no files. */
export interface FlushJob {
  readonly kind: 'flush';
}

export type BackupJob = FileBatch | StreamJob | FlushJob;

/** Bytes of the stream; none mean its end. */
export interface StreamData {
  readonly kind: 'data';
  readonly bytes: Uint8Array;
}

/** The permission to fill one pack: so many as there are, so many packs can be under way. */
export interface PackPermit {
  readonly kind: 'permit';
  readonly envelope: Envelope;
  /** In the run's PackTable. */
  readonly pack: number;
  /** Decode every frame again before it is let go. */
  readonly checkFrames: boolean;
}

/** What the jobs of a worker need while they are at work. */
export type BackupSupply = StreamData | PackPermit;

/** How the reading of one file ended, by its number in `BatchResult.states`. */
export const fileState = {
  /** Read, and it will be recognised as unchanged by its status. */
  settled: 0,
  /** Read, but to be read again by the next run: it changed meanwhile, or so lately that its times cannot tell. */
  unsettled: 1,
  /** Not read. */
  failed: 2,
} as const;

export interface FileProblem {
  /** In the batch. */
  readonly index: number;
  readonly what: SourceProblemKind;
  readonly message: string;
}

/** What few files have. */
export interface FileExtras {
  readonly index: number;
  readonly xattrs?: ReadonlyMap<string, Uint8Array>;
  readonly holes?: readonly Extent[];
}

export interface BatchResult {
  /** ContentRanges of all files, one after the other. */
  readonly ranges: Uint8Array<ArrayBuffer>;
  /** Ranges of each file. */
  readonly counts: Uint32Array<ArrayBuffer>;
  /** Content bytes of each file, holes included. */
  readonly sizes: Float64Array<ArrayBuffer>;
  readonly states: Uint8Array<ArrayBuffer>;
  readonly extras: readonly FileExtras[];
  readonly problems: readonly FileProblem[];
  /** Content bytes that were read, and those of them that were new. */
  readonly bytesRead: number;
  readonly bytesNew: number;
}

export interface StagedPack {
  readonly kind: 'pack';
  readonly number: number;
  readonly id: PackId;
  readonly staged: StagedObject;
  readonly rawBytes: number;
  /** Of a BlobList. */
  readonly blobs: Uint8Array<ArrayBuffer>;
}

/** A piece of the stream was taken up. */
export interface DataTaken {
  readonly kind: 'taken';
}

/** What a worker tells while it is at work. */
export type BackupNotice = StagedPack | DataTaken;
