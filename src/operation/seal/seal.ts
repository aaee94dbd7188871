import { createHash } from 'node:crypto';
import { createEnvelope } from '../../age/envelope.ts';
import { PayloadEncryptor } from '../../age/payload-encryptor.ts';
import type { Recipient } from '../../age/recipient.ts';
import { asBuffer } from '../../bytes/bytes.ts';
import { releaseMemory } from '../../bytes/release-memory.ts';
import type { Compression } from '../../compression/compression.ts';
import type { ReportSourceProblem } from '../../source/source-problem.ts';
import { Walk, type WalkOptions } from '../../source/walk.ts';
import { WorkerPool } from '../worker/worker-pool.ts';
import type { Batch, SealedBatch, SealSettings } from './batch.ts';
import { BatchPlan, type PlannedBatch } from './plan-batches.ts';

export interface SealOptions {
  readonly sources: Omit<WalkOptions, 'onProblem' | 'parents'>;
  readonly recipients: readonly Recipient[];
  readonly compression: Compression;
  /** Within `levels` of the compression. */
  readonly level: number;
  /** Worker threads, at least one. Each takes some 30 MB. */
  readonly threads: number;
  /** Takes the archive's bytes, which belong one after the other and may not be kept. Called first with the header. */
  readonly write: (parts: readonly Uint8Array[]) => void | Promise<void>;
  /** Whether the object is the archive that is being written, which must not hold itself. */
  readonly isOwnOutput?: (walk: Walk) => boolean;
  /** Also make the digest that a signature needs. */
  readonly digest?: boolean;
  readonly onProblem: ReportSourceProblem;
  /** What was stored since the last call. */
  readonly onProgress?: (contentBytes: number, files: number) => void;
  readonly signal: AbortSignal;
}

export interface SealResult {
  readonly files: number;
  /** Bytes of the files' content. */
  readonly contentBytes: number;
  /** Bytes of the tar stream inside. */
  readonly tarBytes: number;
  /** Bytes of the archive. */
  readonly archiveBytes: number;
  readonly problems: number;
  /** Sockets, which are left out. */
  readonly sockets: number;
  /** SHA-512 of the archive, if it was asked for. */
  readonly digest: Uint8Array | undefined;
}

/**
 * Writes an archive, `age(compression(pax tar))`, as one stream without temporary files. The main thread walks, keeps
 * the order, encrypts and hands over; workers read, write tar and compress. Memory is bounded whatever the sources hold.
 *
 * What cannot be read is reported and left out; a file that changes is reported and stored with the length that it had.
 *
 * @throws bad-key if the recipients cannot stand together, failed if a source does not exist: both before `write` is
 *   called; what `write` throws; the signal's reason
 */
export async function seal(options: SealOptions): Promise<SealResult> {
  const { compression, level, threads, signal, write } = options;
  let problems = 0;
  let sockets = 0;
  const onProblem: ReportSourceProblem = (problem) => {
    problems++;
    options.onProblem(problem);
  };
  const { fileKey, header } = await createEnvelope(options.recipients);
  const walk = new Walk({ ...options.sources, onProblem });
  const plan = new BatchPlan({
    walk,
    onProblem,
    isOwnOutput: options.isOwnOutput ?? (() => false),
    onSocket: () => sockets++,
  });
  const encryptor = new PayloadEncryptor(fileKey);
  const hash = options.digest ? createHash('sha512') : undefined;
  const total = { files: 0, contentBytes: 0, tarBytes: 0, archiveBytes: 0 };

  const writeOut = async (parts: readonly Uint8Array[]): Promise<void> => {
    for (const part of parts) {
      hash?.update(part);
      total.archiveBytes += part.length;
    }
    await write(parts);
    parts.forEach(releaseMemory);
  };
  const writeBatch = async (batch: PlannedBatch, sealed: SealedBatch): Promise<void> => {
    // Buffers become plain arrays on their way between threads.
    for (const problem of sealed.problems) onProblem({ ...problem, path: asBuffer(problem.path) });
    batch.finish();
    for (const block of sealed.blocks) {
      await writeOut(encryptor.push(block));
      releaseMemory(block);
    }
    total.files += sealed.files;
    total.contentBytes += sealed.contentBytes;
    total.tarBytes += sealed.tarBytes;
    options.onProgress?.(sealed.contentBytes, sealed.files);
  };

  const settings: SealSettings = { compression, level };
  await using workers = new WorkerPool<Batch, SealedBatch>({
    module: new URL('./seal-worker.ts', import.meta.url),
    threads,
    settings,
    signal,
  });
  try {
    await writeOut([header]);
    const pending: { batch: PlannedBatch; sealed: Promise<SealedBatch> }[] = [];
    const writeOldest = async (): Promise<void> => {
      const { batch, sealed } = pending.shift()!;
      await writeBatch(batch, await sealed);
    };
    for (const batch of plan.batches()) {
      signal.throwIfAborted();
      pending.push({ batch, sealed: workers.run({ items: batch.items }) });
      // More than the workers have in hand, so that whoever is done first finds work while the oldest is still awaited.
      if (pending.length > threads * 3) await writeOldest();
    }
    while (pending.length > 0) {
      signal.throwIfAborted();
      await writeOldest();
    }
    await writeOut(encryptor.finish());
  } finally {
    plan.close();
    walk.close();
  }
  return { ...total, problems, sockets, digest: hash?.digest() };
}
