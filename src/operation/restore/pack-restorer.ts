import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { equalBytes } from '../../bytes/bytes.ts';
import { releaseMemory } from '../../bytes/release-memory.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { errorCode } from '../../posix/system-call-error.ts';
import { TargetDirectory } from '../../posix/target-directory.ts';
import { showPath } from '../../posix/target-path.ts';
import type { TargetFile } from '../../posix/target-file.ts';
import { damagedObject } from '../../repository/damage.ts';
import { fetchSync, fromBytes, type Fetch } from '../../repository/pack/fetch.ts';
import { PackReader } from '../../repository/pack/pack-reader.ts';
import type { ByteRange } from '../../storage/storage.ts';
import { HeldRanges } from '../reading/held-ranges.ts';
import type { WorkerThread } from '../worker/worker-thread.ts';
import { readFileBatch, type BatchFile, type PlacedRange } from './file-batch.ts';
import type {
  CheckJob,
  LostFile,
  PackJob,
  PlainProblem,
  RestoreAnswer,
  RestoreJob,
  RestoreSettings,
} from './restore-messages.ts';

/** After these nothing more can be written. */
const fatalCodes = new Set(['ENOSPC', 'EDQUOT', 'EROFS']);
const readFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** Most blobs are smaller; a larger one is read in pieces. */
const checkBytes = 1024 * 1024;

/** Gives the blob of a range, authenticated one way or the other. */
type ReadBlob = (range: PlacedRange) => Uint8Array;

/** The work of one restore thread: writes the files of one pack after the other. Synchronous. */
export class PackRestorer {
  readonly #thread: WorkerThread<RestoreSettings>;
  readonly #target: TargetDirectory;
  readonly #root: Buffer;
  #packBuffer: Buffer = Buffer.alloc(0);
  #checkBuffer: Buffer | undefined;
  #problems: PlainProblem[] = [];
  #lost: LostFile[] = [];
  #files = 0;
  #kept = 0;
  #bytes = 0;
  #fatal: string | undefined;

  constructor(thread: WorkerThread<RestoreSettings>) {
    const { target, overwrite, numericIds, allowDevices, owners, madeSinceNs } = thread.settings;
    this.#thread = thread;
    this.#root = Buffer.from(`${target}/`);
    this.#target = TargetDirectory.open(target, {
      overwrite,
      numericIds,
      allowDevices,
      madeSinceNs,
      ...(owners !== undefined && { owners }),
      settle: 'by-caller',
      onProblem: ({ path, what, message }) => {
        this.#problems.push({ path, what, message });
      },
    });
  }

  run(job: RestoreJob): RestoreAnswer {
    this.#problems = [];
    this.#lost = [];
    this.#files = 0;
    this.#kept = 0;
    this.#bytes = 0;
    let damage: string | undefined;
    if (job.kind === 'pack') damage = this.#restore(job);
    else this.#check(job);
    const isDamaged = damage !== undefined || this.#lost.some(({ code }) => code === 'damaged');
    return {
      files: this.#files,
      kept: this.#kept,
      bytes: this.#bytes,
      lost: this.#lost,
      problems: this.#problems,
      damage,
      batch: job.kind === 'pack' && isDamaged ? job.batch : undefined,
      fatal: this.#fatal,
    };
  }

  close(): void {
    this.#target.close();
  }

  /** Returns what is wrong with the pack. */
  #restore(job: PackJob): string | undefined {
    const files = [...readFileBatch(job.batch)];
    // In the order of the raw stream every frame is decompressed once.
    files.sort((a, b) => a.ranges[0]!.offset - b.ranges[0]!.offset);
    let damage: string | undefined;
    try {
      const { readBlob, state } = this.#open(job);
      damage = state;
      for (const file of files) this.#restoreFile(file, readBlob);
    } catch (error) {
      if (!(error instanceof SalvageError)) throw error;
      damage = error.message;
      for (const file of files) this.#lose(file, error);
    } finally {
      this.#thread.objects.close();
    }
    return damage;
  }

  #open(job: PackJob): { readBlob: ReadBlob; state: string | undefined } {
    const { object, pack } = job;
    if (!job.whole) {
      const held = new HeldRanges(job.head);
      const read = (range: ByteRange): Uint8Array => this.#thread.objects.read(object.name, range);
      const run = <T>(work: Fetch<T>): T => fetchSync(held.serve(work), read);
      const reader = run(PackReader.open(object, { lends: true }));
      return { readBlob: (range) => run(checkedBlob(reader, range)), state: undefined };
    }
    if (this.#packBuffer.length < object.sizeBytes) {
      releaseMemory(this.#packBuffer);
      this.#packBuffer = Buffer.allocUnsafeSlow(object.sizeBytes);
    }
    const size = this.#thread.objects.readInto(
      object.name,
      0,
      this.#packBuffer.subarray(0, object.sizeBytes),
    );
    const bytes = this.#packBuffer.subarray(0, size);
    const read = fromBytes(bytes);
    const reader = fetchSync(PackReader.open({ ...object, sizeBytes: size }, { lends: true }), read);
    const digest = createHash('sha256').update(bytes).digest('hex');
    if (digest === pack)
      return { readBlob: (range) => fetchSync(plainBlob(reader, range), read), state: undefined };
    // Not what the host signed, or what somebody says has the same content: each blob that has its own SHA-256 is good.
    return {
      readBlob: (range) => fetchSync(checkedBlob(reader, range), read),
      state:
        digest === job.digest ? undefined : damagedObject(object.name, `its SHA-256 is ${digest}`).message,
    };
  }

  #restoreFile(file: BatchFile, readBlob: ReadBlob): void {
    this.#thread.throwIfGivenUp();
    if (this.#fatal !== undefined) return;
    try {
      if (file.spread) this.#writePart(file, readBlob);
      else this.#writeWhole(file, readBlob);
    } catch (error) {
      if (!(error instanceof SalvageError)) throw error;
      this.#lose(file, error);
    }
  }

  #writeWhole({ entry, ranges }: BatchFile, readBlob: ReadBlob): void {
    const [first] = ranges;
    if (ranges.length === 1 && first!.length === entry.size) {
      const outcome = this.#target.writeFile(entry, readBlob(first!));
      if (outcome === 'kept') this.#kept++;
      else {
        this.#files++;
        this.#bytes += entry.size;
      }
      return;
    }
    const target = this.#target.createFile(entry);
    if (!target) {
      this.#kept++;
      return;
    }
    try {
      this.#writeRanges(target, ranges, readBlob);
    } catch (error) {
      target.abandon();
      throw error;
    }
    target.finish();
    this.#files++;
  }

  #writePart({ entry, ranges, spread }: BatchFile, readBlob: ReadBlob): void {
    const target = this.#target.resumeFile(entry, spread!.suspended);
    try {
      this.#writeRanges(target, ranges, readBlob);
    } finally {
      target.suspend();
    }
  }

  #writeRanges(target: TargetFile, ranges: readonly PlacedRange[], readBlob: ReadBlob): void {
    for (const range of ranges) {
      const blob = readBlob(range);
      if (!range.pieces) target.write(blob, range.position);
      else
        for (const { start, length, position } of range.pieces)
          target.write(blob.subarray(start, start + length), position);
      this.#bytes += range.length;
    }
  }

  #lose({ entry, spread }: BatchFile, error: SalvageError): void {
    const { code, message, cause } = error;
    // Copied, for the batch's memory is large.
    this.#lost.push({ path: Uint8Array.from(entry.path), spread: spread?.number, code, message });
    if (fatalCodes.has(errorCode(cause))) this.#fatal = message;
  }

  #check({ batch }: CheckJob): void {
    for (const file of readFileBatch(batch)) {
      this.#thread.throwIfGivenUp();
      try {
        this.#checkFile(file);
        this.#files++;
      } catch (error) {
        const { message } = error as Error;
        const isOurs = error instanceof SalvageError;
        const name = showPath(file.entry.path);
        this.#lose(
          file,
          isOurs
            ? error
            : new SalvageError('failed', `Cannot read "${name}" again: ${message}`, { cause: error }),
        );
      }
    }
  }

  #checkFile({ entry, ranges }: BatchFile): void {
    const wrong = (state: string): SalvageError =>
      new SalvageError('damaged', `Cannot trust the restored file "${showPath(entry.path)}": ${state}`);
    const fd = openSync(Buffer.concat([this.#root, entry.path]), readFlags);
    try {
      const status = fstatSync(fd);
      if (!status.isFile() || status.size !== entry.size)
        throw wrong(`it has ${status.size} bytes where ${entry.size} were written`);
      for (const range of ranges) {
        const hash = createHash('sha256');
        const pieces = range.pieces ?? [{ length: range.length, position: range.position }];
        for (const { length, position } of pieces) this.#hashPiece(fd, length, position, hash);
        if (!equalBytes(hash.digest(), range.digest))
          throw wrong(`from byte ${range.position} on it does not hold what was written`);
        this.#bytes += range.length;
      }
    } finally {
      closeSync(fd);
    }
  }

  #hashPiece(fd: number, length: number, position: number, hash: ReturnType<typeof createHash>): void {
    const buffer = (this.#checkBuffer ??= Buffer.allocUnsafeSlow(checkBytes));
    for (let done = 0; done < length;) {
      const bytesRead = readSync(fd, buffer, 0, Math.min(buffer.length, length - done), position + done);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      done += bytesRead;
    }
  }
}

function* checkedBlob(reader: PackReader, { offset, length, digest }: PlacedRange): Fetch<Uint8Array> {
  return yield* reader.readBlob(offset, length, digest);
}

/** Of a pack whose own SHA-256 is right: no need to hash its parts again. */
function* plainBlob(reader: PackReader, { offset, length }: PlacedRange): Fetch<Uint8Array> {
  const index = reader.frameOf(offset, length);
  if (index === undefined) throw damagedObject(reader.name, `it has no blob of ${length} bytes at ${offset}`);
  const frame = yield* reader.readFrame(index);
  const start = offset - reader.frames[index]!.rawOffset;
  return frame.subarray(start, start + length);
}
