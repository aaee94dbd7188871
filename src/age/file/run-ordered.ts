import type { KeyObject } from 'node:crypto';
import { openBlocking } from './blocking-descriptor.ts';
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
  // Closed when all has gone well; after a failure another thread may still be waiting in a read of one.
  const input = openBlocking(rest.inputFd, 'r');
  const output = openBlocking(rest.outputFd, 'w');
  const job: OrderedJob = {
    ...rest,
    inputFd: input.fd,
    outputFd: output.fd,
    // A copy, lest each worker get the whole buffer of which the prefix is a part.
    prefix: Uint8Array.from(prefix),
    threads,
    state,
  };
  const module = new URL('./ordered-worker.ts', import.meta.url);
  const report = (): void => onProgress?.(orderedBytesDone(state));
  const timer = onProgress && setInterval(report, progressMs);
  try {
    await Promise.all(
      Array.from({ length: threads }, (_, thread) => runWorker(module, { job, thread }, signal)),
    );
    input.close();
    output.close();
  } finally {
    stopOrdered(state);
    clearInterval(timer);
    report();
  }
}
