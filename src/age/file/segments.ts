import type { KeyObject } from 'node:crypto';
import { releaseMemory } from '../../bytes/release-memory.ts';
import { chunkBytes, decryptChunk, encryptChunk, sealedChunkBytes } from '../payload.ts';
import { readFully, writeFully } from './blocking-io.ts';

/** A segment is what one thread takes at a time: large enough for few system calls, small enough to share evenly. */
const segmentChunks = 16;
export const segmentBytes: number = segmentChunks * chunkBytes;
export const sealedSegmentBytes: number = segmentChunks * sealedChunkBytes;

/** The payload of one regular file into another. The same object goes to every thread. */
export interface SegmentJob {
  readonly direction: 'encrypt' | 'decrypt';
  readonly payloadKey: KeyObject;
  readonly inputFd: number;
  readonly outputFd: number;
  /** Where the first chunk begins. */
  readonly inputOffset: number;
  readonly outputOffset: number;
  /** Input bytes from there on. */
  readonly inputBytes: number;
  readonly chunks: number;
  readonly state: SharedArrayBuffer;
}

/** Cells of `SegmentJob.state`, an Int32Array. */
const cells = { next: 0, stop: 1, done: 2, failed: 3 } as const;
const noSegment = 0x7fff_ffff;

export function createSegmentState(): SharedArrayBuffer {
  const state = new SharedArrayBuffer(4 * Object.keys(cells).length);
  new Int32Array(state)[cells.failed] = noSegment;
  return state;
}

/** The first segment that is not in the output, once all threads have ended; undefined if all are. All before it are. */
export function firstMissingSegment({ state, chunks }: SegmentJob): number | undefined {
  const cellsOf = new Int32Array(state);
  const segments = Math.ceil(chunks / segmentChunks);
  const handedOut = Math.min(Atomics.load(cellsOf, cells.next), segments);
  const missing = Math.min(handedOut, Atomics.load(cellsOf, cells.failed));
  return missing < segments ? missing : undefined;
}

/**
 * Takes segments until none is left. Segments are handed out in order, and every one that was handed out is finished,
 * so that at the end the output has no gap before `firstMissingSegment`.
 */
export class SegmentWork {
  readonly #job: SegmentJob;
  readonly #state: Int32Array;
  readonly #buffer: Uint8Array;
  readonly #segments: number;

  constructor(job: SegmentJob) {
    keepFreedMemory();
    this.#job = job;
    this.#state = new Int32Array(job.state);
    this.#segments = Math.ceil(job.chunks / segmentChunks);
    this.#buffer = new Uint8Array(job.direction === 'encrypt' ? segmentBytes : sealedSegmentBytes);
  }

  /** Does one segment; false if there was none left, or the work was stopped. */
  step(): boolean {
    if (Atomics.load(this.#state, cells.stop) !== 0) return false;
    const segment = Atomics.add(this.#state, cells.next, 1);
    if (segment >= this.#segments) return false;
    try {
      if (!this.#run(segment)) this.#fail(segment);
    } catch (error) {
      this.#fail(segment);
      throw error;
    }
    Atomics.add(this.#state, cells.done, 1);
    return true;
  }

  /** No more segments are handed out; those under way are finished. */
  stop(): void {
    Atomics.store(this.#state, cells.stop, 1);
  }

  /** Segments finished so far, by all threads. */
  get done(): number {
    return Atomics.load(this.#state, cells.done);
  }

  #fail(segment: number): void {
    this.stop();
    for (;;) {
      const failed = Atomics.load(this.#state, cells.failed);
      if (segment >= failed) return;
      if (Atomics.compareExchange(this.#state, cells.failed, failed, segment) === failed) return;
    }
  }

  #run(segment: number): boolean {
    const { direction, inputFd, inputOffset, inputBytes, outputFd, outputOffset, payloadKey, chunks } =
      this.#job;
    const encrypting = direction === 'encrypt';
    const [inputStride, outputStride] = encrypting
      ? [segmentBytes, sealedSegmentBytes]
      : [sealedSegmentBytes, segmentBytes];
    const start = segment * inputStride;
    const input = this.#buffer.subarray(0, Math.min(inputStride, inputBytes - start));
    if (readFully(inputFd, input, inputOffset + start) < input.length) return false;

    const parts: Uint8Array[] = [];
    const stride = encrypting ? chunkBytes : sealedChunkBytes;
    const firstChunk = segment * segmentChunks;
    const endChunk = Math.min(firstChunk + segmentChunks, chunks);
    for (let chunk = firstChunk, at = 0; chunk < endChunk; chunk++, at += stride) {
      const bytes = input.subarray(at, at + stride);
      const isLast = chunk === chunks - 1;
      if (encrypting) {
        parts.push(...encryptChunk(payloadKey, chunk, isLast, bytes));
      } else {
        const plaintext = decryptChunk(payloadKey, chunk, isLast, bytes);
        if (!plaintext) return false;
        parts.push(plaintext);
      }
    }
    writeFully(outputFd, parts, outputOffset + segment * outputStride);
    // Dead chunks would pile up to 100 MB per thread, and the fresh memory costs a third of the speed.
    for (const part of parts) releaseMemory(part);
    return true;
  }
}

/**
 * Makes the C library keep a few megabytes of freed memory for the next chunks. glibc gives memory back to the kernel as soon as
 * 128 KiB lie free at the end of its heap, and each chunk would cost its page faults anew; freeing one large buffer raises that limit for
 * the life of the process (mallopt(3), "M_MMAP_THRESHOLD", dynamic). Elsewhere it does nothing.
 */
export function keepFreedMemory(): void {
  new ArrayBuffer(8 * 1024 * 1024).transfer(0);
}
