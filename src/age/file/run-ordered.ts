import type { KeyObject } from 'node:crypto';
import { createOrderedState, orderedBytesDone, stopOrdered } from './ordered-segments.ts';
import type { OrderedJob } from './ordered-segments.ts';
import { runWorker } from './run-worker.ts';

/** One reads or writes while the other encrypts. */
const threads = 2;
const progressMs = 100;

export interface RunOrderedOptions {
  readonly direction: OrderedJob['direction'];
  readonly payloadKey: KeyObject;
  readonly inputFd: number;
  readonly outputFd: number;
  readonly firstChunk: number;
  readonly prefix: Uint8Array;
  /** Called now and then with the plaintext bytes done so far. */
  readonly onProgress?: ((bytesDone: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Does the rest of a payload in order, on workers: this thread stays free for signals and progress.
 * @throws age-payload, what a read or a write failed with, the reason of the signal
 */
export async function runOrdered(options: RunOrderedOptions): Promise<void> {
  const { onProgress, signal, prefix, ...rest } = options;
  const state = createOrderedState();
  // Workers get a copy, not the whole of a buffer that the prefix may be a part of.
  const job: OrderedJob = { ...rest, prefix: Uint8Array.from(prefix), threads, state };
  const module = new URL('./ordered-worker.ts', import.meta.url);
  const report = (): void => onProgress?.(orderedBytesDone(state));
  const timer = onProgress && setInterval(report, progressMs);
  try {
    await Promise.all(
      Array.from({ length: threads }, (_, thread) => runWorker(module, { job, thread }, signal)),
    );
  } finally {
    stopOrdered(state);
    clearInterval(timer);
    report();
  }
}
