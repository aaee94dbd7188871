import { Worker } from 'node:worker_threads';
import type { Compression } from '../../compression/compression.ts';
import type { Batch, SealedBatch } from './batch.ts';

interface Thread {
  readonly worker: Worker;
  /** In the order in which the worker answers. */
  readonly waiting: PromiseWithResolvers<SealedBatch>[];
}

/** A few workers that each seal one batch after the other. */
export class SealThreads {
  readonly #threads: Thread[] = [];

  constructor(count: number, compression: Compression, level: number) {
    for (let index = 0; index < count; index++) {
      const worker = new Worker(new URL('./seal-worker.ts', import.meta.url), {
        workerData: { compression, level },
        // Everything large is outside the heap; a small one keeps the whole process small.
        resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 },
      });
      const thread: Thread = { worker, waiting: [] };
      worker.on('message', (sealed: SealedBatch) => thread.waiting.shift()!.resolve(sealed));
      worker.on('error', (error) => {
        for (const { reject } of thread.waiting.splice(0)) reject(error);
      });
      this.#threads.push(thread);
    }
  }

  /** Hands the batch to the worker that has the least to do. */
  seal(batch: Batch): Promise<SealedBatch> {
    const thread = this.#threads.reduce((best, other) =>
      other.waiting.length < best.waiting.length ? other : best,
    );
    const answer = Promise.withResolvers<SealedBatch>();
    // Whoever waits for it may be busy with an earlier one when it fails.
    answer.promise.catch(() => {});
    thread.waiting.push(answer);
    const message: Batch = { items: batch.items };
    thread.worker.postMessage(message, []);
    return answer.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }
}
