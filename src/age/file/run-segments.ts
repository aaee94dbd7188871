import { availableParallelism } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { runWorker } from './run-worker.ts';
import { segmentBytes, SegmentWork } from './segments.ts';
import type { SegmentJob } from './segments.ts';

/** More threads than these wait for the disk and the page cache, not for the cipher. */
const maxThreads = 4;
/** What one thread does in the time in which another starts. */
const bytesWorthAThread: number = 48 * 1024 * 1024;

export interface RunSegmentsOptions {
  /** At most so many threads, this one included. */
  readonly threads?: number | undefined;
  /** Called now and then with the plaintext bytes done so far. */
  readonly onProgress?: ((bytesDone: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Does the whole job on this thread and as many workers as the size is worth; `firstMissingSegment` then says how far it came.
 * @throws what a read or a write failed with; the reason of the signal
 */
export async function runSegments(job: SegmentJob, options: RunSegmentsOptions): Promise<void> {
  const threads = Math.min(
    options.threads ?? availableParallelism(),
    maxThreads,
    1 + Math.floor(job.inputBytes / bytesWorthAThread),
  );
  const work = new SegmentWork(job);
  const module = new URL('./segment-worker.ts', import.meta.url);
  const workers = Array.from({ length: threads - 1 }, () => runWorker(module, job));
  // Looked at only when this thread has done its share; until then a failure must not count as unhandled.
  const ended = Promise.allSettled(workers);
  const report = (): void => options.onProgress?.(Math.min(work.done * segmentBytes, job.inputBytes));
  try {
    while (work.step()) {
      report();
      await nextTurn();
      options.signal?.throwIfAborted();
    }
  } finally {
    work.stop();
    await ended;
    report();
  }
  await Promise.all(workers);
}
