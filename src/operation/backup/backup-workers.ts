import type { StageSpec } from '../../storage/staged-object.ts';
import { WorkerPool, type PoolThread } from '../worker/worker-pool.ts';
import type { PackStore } from './pack-store.ts';
import type {
  BackupJob,
  BackupNotice,
  BackupSupply,
  BatchResult,
  FileBatch,
  StagedPack,
  StreamJob,
  WorkerSetup,
} from './worker-messages.ts';

export interface BackupWorkersOptions {
  readonly threads: number;
  readonly setup: WorkerSetup;
  /** Permits packs and stores them. */
  readonly store: Pick<PackStore, 'permit' | 'storeStaged'>;
  readonly signal: AbortSignal;
}

/** Packs that one worker may have open and on their way into storage at a time. */
export function permitsPerWorker({ kind }: StageSpec): number {
  // Where they are in memory they are few. Files only wait for the disk to sync them, and the worker goes on.
  return kind === 'transfer' ? 2 : 6;
}
/** Pieces of a stream that wait in front of its worker. */
const piecesAhead = 4;

type Thread = PoolThread<BackupSupply>;

/** The worker threads of a run. The first failure, of a worker or of storage, ends all that is waited for. */
export class BackupWorkers {
  readonly #pool: WorkerPool<BackupJob, BatchResult, BackupSupply, BackupNotice>;
  readonly #store: BackupWorkersOptions['store'];
  /** Of a stream: its worker, what waits in front of it, and who waits for that. */
  #streamThread: Thread | undefined;
  #pieces = 0;
  #taken: PromiseWithResolvers<void> | undefined;

  constructor({ threads, setup, store, signal }: BackupWorkersOptions) {
    this.#store = store;
    const permits = permitsPerWorker(setup.stageSpec);
    this.#pool = new WorkerPool({
      module: new URL('./backup-worker.ts', import.meta.url),
      threads,
      settings: setup,
      signal,
      onStart: (thread) => {
        this.#streamThread = thread;
        for (let count = 0; count < permits; count++) void this.#sendPermit(thread);
      },
      onNotice: (notice, thread) => {
        if (notice.kind === 'pack') void this.#storePack(notice, thread);
        else this.#onTaken();
      },
    });
  }

  /** Waits until a worker has room for a batch. @throws what made a worker or storage fail */
  async ready(): Promise<void> {
    await this.#pool.ready();
  }

  /** Hands a batch to the worker with the least to do. A stream is the only job of its run. */
  run(job: FileBatch | StreamJob): Promise<BatchResult> {
    return this.#pool.run(job, job.kind === 'files' ? [job.numbers.buffer] : []);
  }

  /** Hands bytes to the worker that reads the stream, as fast as it takes them; none end the stream. */
  async sendData(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    while (this.#pieces >= piecesAhead) {
      this.#taken ??= Promise.withResolvers<void>();
      await this.#pool.orFailure(this.#taken.promise);
    }
    this.#pieces++;
    this.#streamThread?.supply({ kind: 'data', bytes }, [bytes.buffer]);
  }

  /** Closes the packs that are open; all have gone to the store when this returns. Only when no batch is under way. */
  async flush(): Promise<void> {
    await this.#pool.runOnEach({ kind: 'flush' });
  }

  /** The promise's value, unless a worker or storage fails before. @throws what made it fail */
  async orFailure<T>(promise: Promise<T>): Promise<T> {
    return await this.#pool.orFailure(promise);
  }

  /** Ends the threads. What they have not handed over is lost; what is on its way into storage goes on. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
  }

  #onTaken(): void {
    this.#pieces--;
    this.#taken?.resolve();
    this.#taken = undefined;
  }

  async #storePack(pack: StagedPack, thread: Thread): Promise<void> {
    try {
      await this.#store.storeStaged(pack);
    } catch (error) {
      this.#pool.fail(error);
      return;
    }
    if (!this.#pool.hasFailed) await this.#sendPermit(thread);
  }

  async #sendPermit(thread: Thread): Promise<void> {
    try {
      thread.supply(await this.#store.permit());
    } catch (error) {
      this.#pool.fail(error);
    }
  }
}
