import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { startWorker } from '../../bundle/start-worker.ts';
import type { Storage } from '../../storage/storage.ts';
import { grantAccess, type GrantedAccess, type ObjectAccess } from './object-service.ts';

/** What every worker of a pool finds in its workerData. */
export interface PoolWorkerData<Settings> {
  readonly objects: ObjectAccess;
  readonly settings: Settings;
}

interface Thread<Answer> {
  readonly worker: Worker;
  readonly granted: GrantedAccess;
  /** In the order in which the worker answers. */
  readonly waiting: PromiseWithResolvers<Answer>[];
}

/** One job in work and one that waits, so that a worker never idles while the next job is on its way. */
const jobsPerThread = 2;
/** Requests to a remote storage overlap by having more threads than processors: they sleep most of the time. */
const remoteThreads = 6;

/** As many workers as there is use for, or as were asked for. */
export function workerCount(storage: Storage, asked?: number): number {
  if (asked !== undefined) return asked;
  const processors = availableParallelism();
  return storage.objectsFolder === undefined ? Math.max(remoteThreads, processors) : processors;
}

/**
 * Worker threads that each do one job after the other, with a way to read objects of a storage. A worker answers each
 * message with one message, in order.
 */
export class WorkerPool<Job, Answer> {
  readonly #threads: Thread<Answer>[] = [];
  #free = Promise.withResolvers<void>();
  #failure: unknown;

  constructor(file: URL, count: number, storage: Storage, settings: unknown, signal?: AbortSignal) {
    for (let index = 0; index < count; index++) {
      const granted = grantAccess(storage, signal);
      const workerData: PoolWorkerData<unknown> = { objects: granted.access, settings };
      const worker = startWorker(file, {
        workerData,
        transferList: [...granted.transfer],
        // Everything large is outside the heap; a small one keeps the whole process small.
        resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 256 },
      });
      const thread: Thread<Answer> = { worker, granted, waiting: [] };
      worker.on('message', (answer: Answer) => {
        // After a failure nobody waits any more.
        thread.waiting.shift()?.resolve(answer);
        this.#wake();
      });
      worker.on('error', (error) => this.#fail(error));
      this.#threads.push(thread);
    }
  }

  /** Resolves as soon as a worker could take another job. @throws what made a worker fail */
  async ready(signal?: AbortSignal): Promise<void> {
    while (!this.#threads.some(({ waiting }) => waiting.length < jobsPerThread)) {
      signal?.throwIfAborted();
      this.#throwFailure();
      await this.#free.promise;
    }
    signal?.throwIfAborted();
    this.#throwFailure();
  }

  /** Hands the job to the worker that has the least to do, without waiting for its turn: see `ready`. */
  run(job: Job, transfer: readonly ArrayBuffer[] = []): Promise<Answer> {
    this.#throwFailure();
    const thread = this.#threads.reduce((best, other) =>
      other.waiting.length < best.waiting.length ? other : best,
    );
    const answer = Promise.withResolvers<Answer>();
    // Whoever waits for it may be busy elsewhere when it fails.
    answer.promise.catch(() => {});
    thread.waiting.push(answer);
    thread.worker.postMessage(job, transfer);
    return answer.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#fail(new Error('the worker threads were ended'));
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
    for (const { granted } of this.#threads) granted.close();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    for (const { waiting } of this.#threads) for (const { reject } of waiting.splice(0)) reject(error);
    this.#wake();
  }

  #wake(): void {
    const { resolve } = this.#free;
    this.#free = Promise.withResolvers();
    resolve();
  }
}
