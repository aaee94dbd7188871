import type { KeyObject } from 'node:crypto';
import { releaseMemory } from '../../bytes/release-memory.ts';
import { PayloadDecryptor } from '../payload-decryptor.ts';
import { chunkBytes, encryptChunk, sealedChunkBytes } from '../payload.ts';
import { readFully, writeFully } from './blocking-io.ts';
import { keepFreedMemory } from './segments.ts';

/** Fewer make the turns change too often, more make a slow pipe wait too long for its output. */
const segmentChunks = 16;

/** The payload of one pipe (or anything that is read in order) into another. The same object goes to every thread. */
export interface OrderedJob {
  readonly direction: 'encrypt' | 'decrypt';
  readonly payloadKey: KeyObject;
  readonly inputFd: number;
  readonly outputFd: number;
  /** The number of the first chunk. */
  readonly firstChunk: number;
  /** What was already read of the input, from the first chunk on. */
  readonly prefix: Uint8Array;
  readonly threads: number;
  readonly state: SharedArrayBuffer;
}

/** Cells of `OrderedJob.state`, an Int32Array. */
const cells = { readTurn: 0, writeTurn: 1, stop: 2, ahead: 3 } as const;
const nothingAhead = -1;

export function createOrderedState(): SharedArrayBuffer {
  const state = new SharedArrayBuffer(4 * Object.keys(cells).length);
  new Int32Array(state)[cells.ahead] = nothingAhead;
  return state;
}

/** Ends all threads at their next turn. */
export function stopOrdered(state: SharedArrayBuffer): void {
  const cellsOf = new Int32Array(state);
  Atomics.store(cellsOf, cells.stop, 1);
  Atomics.notify(cellsOf, cells.readTurn);
  Atomics.notify(cellsOf, cells.writeTurn);
}

/** Plaintext bytes done so far. */
export function orderedBytesDone(state: SharedArrayBuffer): number {
  return Atomics.load(new Int32Array(state), cells.writeTurn) * segmentChunks * chunkBytes;
}

/**
 * The part of thread `thread`: every `threads`-th segment. It reads when its turn to read has come and writes when its turn
 * to write has come; the cipher runs in between, beside the others' turns. Blocks: not for the main thread.
 * @throws age-payload and what a read or a write fails with; everything good before it is written
 */
export function runOrdered(job: OrderedJob, thread: number): void {
  keepFreedMemory();
  const state = new Int32Array(job.state);
  const size = segmentChunks * (job.direction === 'encrypt' ? chunkBytes : sealedChunkBytes);
  // One byte more than a segment tells whether this one is the last.
  const buffer = new Uint8Array(size + 1);
  try {
    for (let segment = thread; ; segment += job.threads) {
      if (!waitForTurn(state, cells.readTurn, segment)) return;
      const filled = readSegment(job, state, segment, buffer);
      const isLast = filled <= size;
      if (isLast) Atomics.store(state, cells.ahead, nothingAhead);
      else Atomics.store(state, cells.ahead, buffer[size]!);
      // After the last segment nobody's turn comes any more.
      if (!isLast) passTurn(state, cells.readTurn, segment);

      const input = buffer.subarray(0, filled);
      const { parts, failure } =
        job.direction === 'encrypt'
          ? encrypt(job, segment, input, isLast)
          : decrypt(job, segment, input, isLast);
      if (!waitForTurn(state, cells.writeTurn, segment)) return;
      if (parts.length > 0) writeFully(job.outputFd, parts, null);
      for (const part of parts) releaseMemory(part);
      if (failure) throw failure;
      passTurn(state, cells.writeTurn, segment);
      if (isLast) {
        stopOrdered(job.state);
        return;
      }
    }
  } catch (error) {
    stopOrdered(job.state);
    throw error;
  }
}

/** False if the work has been stopped. */
function waitForTurn(state: Int32Array, cell: number, segment: number): boolean {
  for (;;) {
    if (Atomics.load(state, cells.stop) !== 0) return false;
    const turn = Atomics.load(state, cell);
    if (turn === segment) return true;
    // With a limit, since the work may be stopped between the look and the sleep.
    Atomics.wait(state, cell, turn, 100);
  }
}

function passTurn(state: Int32Array, cell: number, segment: number): void {
  Atomics.store(state, cell, segment + 1);
  Atomics.notify(state, cell);
}

/** Fills the buffer from the prefix, the byte that the segment before has read too many, and the descriptor. */
function readSegment(job: OrderedJob, state: Int32Array, segment: number, buffer: Uint8Array): number {
  const start = segment * (buffer.length - 1);
  const known = job.prefix.subarray(start, start + buffer.length);
  buffer.set(known);
  let filled = known.length;
  if (filled === 0 && Atomics.load(state, cells.ahead) !== nothingAhead) {
    buffer[0] = Atomics.load(state, cells.ahead);
    filled = 1;
  }
  return filled + readFully(job.inputFd, buffer.subarray(filled), null);
}

interface Segment {
  readonly parts: Uint8Array[];
  readonly failure?: unknown;
}

function encrypt(job: OrderedJob, segment: number, input: Uint8Array, isLast: boolean): Segment {
  const plaintext = isLast ? input : input.subarray(0, -1);
  const parts: Uint8Array[] = [];
  let chunk = job.firstChunk + segment * segmentChunks;
  let offset = 0;
  do {
    const end = offset + chunkBytes;
    parts.push(
      ...encryptChunk(
        job.payloadKey,
        chunk,
        isLast && end >= plaintext.length,
        plaintext.subarray(offset, end),
      ),
    );
    chunk++;
    offset = end;
  } while (offset < plaintext.length);
  return { parts };
}

function decrypt(job: OrderedJob, segment: number, input: Uint8Array, isLast: boolean): Segment {
  const chunk = job.firstChunk + segment * segmentChunks;
  const decryptor = new PayloadDecryptor({ payloadKey: job.payloadKey, chunk });
  const end = isLast ? input.length : input.length - 1;
  const parts = decryptor.push(input.subarray(0, end));
  try {
    // That the next segment has a byte matters only after a last chunk, which nothing may follow.
    if (!isLast && decryptor.lastSeen) decryptor.push(input.subarray(end));
    if (isLast || decryptor.failed) parts.push(...decryptor.finish());
  } catch (failure) {
    return { parts, failure };
  }
  return { parts };
}
