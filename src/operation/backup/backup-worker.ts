// A worker thread of a backup: one plain loop that reads files, stores what is new of them and answers with ranges.
import { systemClock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { BlobTable } from '../../repository/cache/blob-table.ts';
import { packName } from '../../repository/layout.ts';
import { PackWriter } from '../../repository/pack/pack-writer.ts';
import { problemOf } from '../../source/source-problem.ts';
import { SourceFile } from '../../source/source-file.ts';
import { ObjectStaging, stagedTransfer } from '../../storage/staged-object.ts';
import { serveJobs, type WorkerThread } from '../worker/worker-thread.ts';
import { BatchOutcome } from './batch-outcome.ts';
import { ContentStore } from './content-store.ts';
import { FileContent } from './file-content.ts';
import {
  fileNumber,
  fileState,
  numbersPerFile,
  type BackupJob,
  type BackupNotice,
  type BackupSupply,
  type BatchResult,
  type FileBatch,
  type PackPermit,
  type StreamData,
  type WorkerSetup,
} from './worker-messages.ts';

/** A file that changes again within the same tick of the kernel's clock keeps its times: such a young one is not settled. */
const kernelTickMs = 20;

type Thread = WorkerThread<WorkerSetup, BackupSupply, BackupNotice>;

/** Stores what is new of files, in packs for which it takes permits. */
class BackupWorker {
  readonly #thread: Thread;
  readonly #store: ContentStore;
  readonly #file = new SourceFile();
  /** The pack that is being filled. */
  #staging: ObjectStaging | undefined;

  constructor(thread: Thread) {
    this.#thread = thread;
    const {
      chunkerSeed,
      blobTable,
      gonePacks,
      packTargetBytes: targetBytes,
      level,
      stageSpec,
    } = thread.settings;
    this.#store = new ContentStore({
      chunkerSeed,
      blobs: new BlobTable(blobTable, (pack) => gonePacks[pack] === 1),
      openPack: () => {
        const { envelope, pack, checkFrames } = thread.take(isPermit);
        const staging = new ObjectStaging(stageSpec);
        this.#staging = staging;
        const takeParts = (parts: readonly Uint8Array[]): void => staging.append(parts);
        return {
          number: pack,
          writer: new PackWriter(envelope, { targetBytes, level, checkFrames, takeParts }),
        };
      },
      closePack: (number, { id, rawBytes, blobs }) => {
        const staged = this.#staging!.finish(packName(id));
        this.#staging = undefined;
        thread.tell(
          { kind: 'pack', number, id, staged, rawBytes, blobs: blobs.bytes },
          stagedTransfer(staged),
        );
      },
    });
  }

  run(job: BackupJob): BatchResult {
    switch (job.kind) {
      case 'files':
        return this.#storeFiles(job);
      case 'stream':
        return this.#storeStream();
      case 'flush':
        this.#store.flush();
        return new BatchOutcome(0, this.#store).result();
    }
  }

  transferOf({ ranges, counts, sizes, states }: BatchResult): ArrayBuffer[] {
    return [ranges.buffer, counts.buffer, sizes.buffer, states.buffer];
  }

  close(): void {
    this.#staging?.discard();
  }

  #storeFiles({ paths, numbers }: FileBatch): BatchResult {
    const names = paths.split('\0', numbers.length / numbersPerFile);
    const outcome = new BatchOutcome(names.length, this.#store);
    for (const [index, name] of names.entries()) {
      this.#thread.throwIfGivenUp();
      this.#storeFile(
        outcome,
        index,
        name,
        numbers.subarray(index * numbersPerFile, (index + 1) * numbersPerFile),
      );
    }
    return outcome.result();
  }

  #storeFile(outcome: BatchOutcome, index: number, name: string, known: Float64Array): void {
    const rangesBefore = this.#store.rangeCount;
    try {
      this.#file.open(name, { fileSystem: known[fileNumber.fileSystem]!, inode: known[fileNumber.inode]! });
      const content = new FileContent(this.#file);
      this.#store.add((into) => {
        this.#thread.throwIfGivenUp();
        return content.read(into);
      });
      const xattrs = this.#file.xattrs();
      const { holes } = content;
      if (xattrs || holes.length > 0)
        outcome.extras.push({ index, ...(xattrs && { xattrs }), ...(holes.length > 0 && { holes }) });
      const change = this.#file.changes();
      if (change !== undefined) outcome.problems.push({ index, what: 'changed', message: change });
      outcome.counts[index] = this.#store.rangeCount - rangesBefore;
      outcome.sizes[index] = content.size;
      outcome.states[index] =
        change === undefined && this.#isSettled(known) ? fileState.settled : fileState.unsettled;
    } catch (error) {
      if (error instanceof SalvageError || !isSystemError(error)) throw error;
      const { what, message } = problemOf(Buffer.alloc(0), error);
      outcome.problems.push({ index, what, message });
      this.#store.dropRanges(rangesBefore);
      outcome.states[index] = fileState.failed;
    } finally {
      this.#file.close();
    }
  }

  /** Whether the status that the walk saw will differ from the file's once its content differs from what was read. */
  #isSettled(known: Float64Array): boolean {
    const { ctimeSeconds, ctimeNanoseconds } = this.#file.status;
    return (
      ctimeSeconds === known[fileNumber.ctimeSeconds] &&
      ctimeNanoseconds === known[fileNumber.ctimeNanoseconds] &&
      systemClock.now().getTime() - (ctimeSeconds * 1000 + ctimeNanoseconds / 1e6) > kernelTickMs
    );
  }

  #storeStream(): BatchResult {
    const outcome = new BatchOutcome(1, this.#store);
    let bytes: Uint8Array = new Uint8Array(0);
    let isEnd = false;
    let size = 0;
    this.#store.add((into) => {
      if (bytes.length === 0 && !isEnd) {
        bytes = this.#thread.take(isStreamData).bytes;
        this.#thread.tell({ kind: 'taken' });
        isEnd = bytes.length === 0;
      }
      const taken = bytes.subarray(0, into.length);
      into.set(taken);
      bytes = bytes.subarray(taken.length);
      size += taken.length;
      return taken.length;
    });
    outcome.counts[0] = this.#store.rangeCount;
    outcome.sizes[0] = size;
    outcome.states[0] = fileState.unsettled;
    return outcome.result();
  }
}

serveJobs<WorkerSetup, BackupJob, BatchResult, BackupSupply, BackupNotice>(
  (thread) => new BackupWorker(thread),
);

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && 'syscall' in error;
}

function isPermit(supply: BackupSupply): supply is PackPermit {
  return supply.kind === 'permit';
}

function isStreamData(supply: BackupSupply): supply is StreamData {
  return supply.kind === 'data';
}
