// A worker thread of a backup: one plain loop that reads files, stores what is new of them and answers with ranges.
import { workerData } from 'node:worker_threads';
import { systemClock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { BlobTable } from '../../repository/cache/blob-table.ts';
import { packName } from '../../repository/layout.ts';
import { PackWriter } from '../../repository/pack/pack-writer.ts';
import { problemOf } from '../../source/source-problem.ts';
import { SourceFile } from '../../source/source-file.ts';
import { ObjectStaging, stagedTransfer } from '../../storage/staged-object.ts';
import { BatchOutcome } from './batch-outcome.ts';
import { ContentStore } from './content-store.ts';
import { FileContent } from './file-content.ts';
import { Inbox, RunGivenUp } from './inbox.ts';
import {
  fileNumber,
  fileState,
  numbersPerFile,
  type BatchResult,
  type FileBatch,
  type FromWorker,
  type PackPermit,
  type StreamData,
  type StreamJob,
  type ToWorker,
  type WorkerSetup,
} from './worker-messages.ts';

/** A file that changes again within the same tick of the kernel's clock keeps its times: such a young one is not settled. */
const kernelTickMs = 20;

const setup = workerData as WorkerSetup;
const { port } = setup.inbox;
const inbox = new Inbox<ToWorker>(setup.inbox);
/** The pack that is being filled. */
let openStaging: ObjectStaging | undefined;
const store = new ContentStore({
  chunkerSeed: setup.chunkerSeed,
  blobs: new BlobTable(setup.blobTable, (pack) => setup.gonePacks[pack] === 1),
  openPack() {
    const { envelope, pack, checkFrames } = inbox.receive(isPermit);
    const { packTargetBytes: targetBytes, level, stageSpec } = setup;
    const staging = new ObjectStaging(stageSpec);
    openStaging = staging;
    const takeParts = (parts: readonly Uint8Array[]): void => staging.append(parts);
    return { number: pack, writer: new PackWriter(envelope, { targetBytes, level, checkFrames, takeParts }) };
  },
  closePack(number, { id, rawBytes, blobs }) {
    const staged = openStaging!.finish(packName(id));
    openStaging = undefined;
    send({ kind: 'pack', number, id, staged, rawBytes, blobs: blobs.bytes }, stagedTransfer(staged));
  },
});
const file = new SourceFile();

try {
  work();
} catch (error) {
  if (!(error instanceof RunGivenUp)) send({ kind: 'failed', error: describe(error) });
} finally {
  openStaging?.discard();
}
port.close();

function work(): void {
  for (;;) {
    const job = inbox.receive(isJob);
    if (job.kind === 'stop') return;
    if (job.kind === 'flush') {
      store.flush();
      send({ kind: 'flushed' });
    } else {
      const result = job.kind === 'files' ? storeFiles(job) : storeStream(job);
      send(result, [result.ranges.buffer, result.counts.buffer, result.sizes.buffer, result.states.buffer]);
    }
  }
}

function storeFiles({ id, paths, numbers }: FileBatch): BatchResult {
  const names = paths.split('\0', numbers.length / numbersPerFile);
  const outcome = new BatchOutcome(id, names.length, store);
  for (const [index, name] of names.entries()) {
    inbox.throwIfGivenUp();
    storeFile(outcome, index, name, numbers.subarray(index * numbersPerFile, (index + 1) * numbersPerFile));
  }
  return outcome.result();
}

function storeFile(outcome: BatchOutcome, index: number, name: string, known: Float64Array): void {
  const rangesBefore = store.rangeCount;
  try {
    file.open(name, { fileSystem: known[fileNumber.fileSystem]!, inode: known[fileNumber.inode]! });
    const content = new FileContent(file);
    store.add((into) => {
      inbox.throwIfGivenUp();
      return content.read(into);
    });
    const xattrs = file.xattrs();
    const { holes } = content;
    if (xattrs || holes.length > 0)
      outcome.extras.push({ index, ...(xattrs && { xattrs }), ...(holes.length > 0 && { holes }) });
    const change = file.changes();
    if (change !== undefined) outcome.problems.push({ index, what: 'changed', message: change });
    outcome.counts[index] = store.rangeCount - rangesBefore;
    outcome.sizes[index] = content.size;
    outcome.states[index] =
      change === undefined && isSettled(known) ? fileState.settled : fileState.unsettled;
  } catch (error) {
    if (error instanceof SalvageError || !isSystemError(error)) throw error;
    const { what, message } = problemOf(Buffer.alloc(0), error);
    outcome.problems.push({ index, what, message });
    store.dropRanges(rangesBefore);
    outcome.states[index] = fileState.failed;
  } finally {
    file.close();
  }
}

/** Whether the status that the walk saw will differ from the file's once its content differs from what was read. */
function isSettled(known: Float64Array): boolean {
  const { ctimeSeconds, ctimeNanoseconds } = file.status;
  return (
    ctimeSeconds === known[fileNumber.ctimeSeconds] &&
    ctimeNanoseconds === known[fileNumber.ctimeNanoseconds] &&
    systemClock.now().getTime() - (ctimeSeconds * 1000 + ctimeNanoseconds / 1e6) > kernelTickMs
  );
}

function storeStream({ id }: StreamJob): BatchResult {
  const outcome = new BatchOutcome(id, 1, store);
  let bytes: Uint8Array = new Uint8Array(0);
  let isEnd = false;
  let size = 0;
  store.add((into) => {
    if (bytes.length === 0 && !isEnd) {
      bytes = inbox.receive(isStreamData).bytes;
      send({ kind: 'taken' });
      isEnd = bytes.length === 0;
    }
    const taken = bytes.subarray(0, into.length);
    into.set(taken);
    bytes = bytes.subarray(taken.length);
    size += taken.length;
    return taken.length;
  });
  outcome.counts[0] = store.rangeCount;
  outcome.sizes[0] = size;
  outcome.states[0] = fileState.unsettled;
  return outcome.result();
}

function send(message: FromWorker, transfer: readonly ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

function describe(error: unknown): { code?: string; message: string; hint?: string; stack?: string } {
  if (error instanceof SalvageError)
    return {
      code: error.code,
      message: error.message,
      ...(error.hint !== undefined && { hint: error.hint }),
    };
  return error instanceof Error
    ? { message: error.message, stack: error.stack ?? '' }
    : { message: String(error) };
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && 'syscall' in error;
}

function isPermit(message: ToWorker): message is PackPermit {
  return message.kind === 'permit';
}

function isStreamData(message: ToWorker): message is StreamData {
  return message.kind === 'data';
}

function isJob(message: ToWorker): message is Exclude<ToWorker, PackPermit | StreamData> {
  return message.kind !== 'permit' && message.kind !== 'data';
}
