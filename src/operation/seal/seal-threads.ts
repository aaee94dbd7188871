import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { startWorker } from '../../bundle/start-worker.ts';
import type { Compression } from '../../compression/compression.ts';
import type { Batch, SealedBatch, SealRequest } from './batch.ts';

interface Thread {
  readonly worker: Worker;
  readonly ended: Promise<unknown>;
  /** In the order in which the worker answers. */
  readonly waiting: PromiseWithResolvers<SealedBatch>[];
}

/** Some workers that each seal one batch after the other. They are started when there is something for them to do. */
export class SealThreads {
  readonly #threads: Thread[] = [];
  readonly #most: number;
  readonly #workerData: { readonly compression: Compression; readonly level: number };

  constructor(most: number, compression: Compression, level: number) {
    this.#most = most;
    this.#workerData = { compression, level };
  }

  /** Hands the batch to the worker that has the least to do. */
  seal(batch: Batch): Promise<SealedBatch> {
    let thread = this.#leastBusy();
    if (!thread || (thread.waiting.length > 0 && this.#threads.length < this.#most)) thread = this.#start();
    const answer = Promise.withResolvers<SealedBatch>();
    // Whoever waits for it may be busy with an earlier one when it fails.
    answer.promise.catch(() => {});
    thread.waiting.push(answer);
    send(thread, { items: batch.items });
    return answer.promise;
  }

  /** Lets every worker end what it is doing. Not by force: one that is just loading native code would take us down. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const thread of this.#threads) send(thread, 'end');
    await Promise.all(this.#threads.map(({ ended }) => ended));
  }

  #leastBusy(): Thread | undefined {
    return this.#threads.toSorted((a, b) => a.waiting.length - b.waiting.length)[0];
  }

  #start(): Thread {
    const worker = startWorker(new URL('./seal-worker.ts', import.meta.url), {
      workerData: this.#workerData,
      // Everything large is outside the heap; a small one keeps the whole process small.
      resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 },
    });
    const thread: Thread = { worker, ended: once(worker, 'exit').catch(() => {}), waiting: [] };
    worker.on('message', (sealed: SealedBatch) => thread.waiting.shift()!.resolve(sealed));
    worker.on('error', (error) => {
      for (const { reject } of thread.waiting.splice(0)) reject(error);
    });
    this.#threads.push(thread);
    return thread;
  }
}

function send({ worker }: Thread, request: SealRequest): void {
  worker.postMessage(request, []);
}
