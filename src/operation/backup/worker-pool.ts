import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads';
import { startWorker } from '../../bundle/start-worker.ts';
import { SalvageError, type ErrorCode } from '../../errors/salvage-error.ts';
import type { StageSpec } from '../../storage/staged-object.ts';
import { Outbox, type InboxEnd } from './inbox.ts';
import type {
  BatchResult,
  FileBatch,
  FromWorker,
  PackPermit,
  StagedPack,
  StreamJob,
  ToWorker,
  WorkerSetup,
} from './worker-messages.ts';

export interface WorkerPoolOptions {
  readonly threads: number;
  readonly setup: Omit<WorkerSetup, 'inbox'>;
  /** A pack may be filled: its envelope and number. Asked for as packs get stored. */
  readonly permit: () => Promise<PackPermit>;
  /** Stores a finished pack. The worker gets its next permit when this is done. */
  readonly onPack: (pack: StagedPack) => Promise<void>;
}

/** Packs that one worker may have open and on their way into storage at a time. */
export function permitsPerWorker({ kind }: StageSpec): number {
  // Where they are in memory they are few. Files only wait for the disk to sync them, and the worker goes on.
  return kind === 'transfer' ? 2 : 6;
}
/** Batches that one worker has or waits for: one more than it works on, so that it never waits. */
const batchesPerWorker = 2;
/** Pieces of a stream that wait in front of a worker. */
const piecesPerWorker = 4;
/** Everything large is outside the heap; a small one keeps the whole process small. */
const heapLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 256 };

interface Member {
  readonly worker: Worker;
  readonly outbox: Outbox<ToWorker>;
  readonly answers: Map<number, PromiseWithResolvers<BatchResult>>;
  flushed: PromiseWithResolvers<void> | undefined;
  /** Pieces of a stream that wait to be taken. */
  pieces: number;
  taken: PromiseWithResolvers<void> | undefined;
}

/** The worker threads of a run. The first failure, of a worker or of storage, ends all that is waited for. */
export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #members: Member[] = [];
  readonly #stores = new Set<Promise<void>>();
  readonly #failure = Promise.withResolvers<never>();
  #error: unknown;
  #room: PromiseWithResolvers<void> | undefined;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    // Whoever waits hears of it by `orFailure`; nobody may wait just now.
    this.#failure.promise.catch(() => {});
  }

  /** Waits until a worker has room for a batch. @throws what made a worker or storage fail */
  async room(): Promise<void> {
    while (this.#error === undefined && this.#freest().answers.size >= batchesPerWorker) {
      this.#room ??= Promise.withResolvers<void>();
      await this.#room.promise;
    }
    if (this.#error !== undefined) throw this.#error;
  }

  /** Hands a batch to the worker with the least to do. */
  async run(job: FileBatch | StreamJob): Promise<BatchResult> {
    const member = this.#freest();
    const answer = Promise.withResolvers<BatchResult>();
    member.answers.set(job.id, answer);
    member.outbox.send(job, job.kind === 'files' ? [job.numbers.buffer] : []);
    try {
      if (this.#error !== undefined) throw this.#error;
      return await answer.promise;
    } finally {
      member.answers.delete(job.id);
      this.#room?.resolve();
      this.#room = undefined;
    }
  }

  /** Hands bytes to the one worker that runs a stream job, as fast as it takes them; none end the stream. */
  async sendData(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const member = this.#members.find(({ answers }) => answers.size > 0);
    if (!member) return;
    while (member.pieces >= piecesPerWorker) {
      member.taken ??= Promise.withResolvers<void>();
      await this.orFailure(member.taken.promise);
    }
    member.pieces++;
    member.outbox.send({ kind: 'data', bytes }, [bytes.buffer]);
  }

  /** Closes the packs that are open, and returns when all packs are stored. Only when no batch is under way. */
  async flush(): Promise<void> {
    for (const member of this.#members) {
      member.flushed = Promise.withResolvers<void>();
      member.outbox.send({ kind: 'flush' });
    }
    for (const { flushed } of this.#members) await this.orFailure(flushed!.promise);
    while (this.#stores.size > 0) await this.orFailure(Promise.all(this.#stores));
  }

  /** Ends all work with this error. */
  giveUp(error: unknown): void {
    this.#fail(error);
  }

  /** Ends the threads. What they have not handed over is lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { outbox } of this.#members) outbox.giveUp();
    await Promise.all(this.#members.map(({ worker }) => exitOf(worker)));
    await Promise.allSettled(this.#stores);
  }

  /** The promise's value, unless the pool fails before. @throws what made it fail */
  async orFailure<T>(promise: Promise<T>): Promise<T> {
    return await Promise.race([promise, this.#failure.promise]);
  }

  #freest(): Member {
    const freest = this.#members.reduce<Member | undefined>(
      (best, member) => (best && best.answers.size <= member.answers.size ? best : member),
      undefined,
    );
    if (freest && (freest.answers.size === 0 || this.#members.length === this.#options.threads))
      return freest;
    return this.#start();
  }

  #start(): Member {
    const { port1, port2 } = new MessageChannel();
    const state = new SharedArrayBuffer(8);
    const inbox: InboxEnd = { port: port2, state };
    const worker = startWorker(new URL('./backup-worker.ts', import.meta.url), {
      workerData: { ...this.#options.setup, inbox },
      transferList: [port2],
      resourceLimits: heapLimits,
    });
    const outbox = new Outbox<ToWorker>({ port: port1, state });
    const member: Member = {
      worker,
      outbox,
      answers: new Map(),
      flushed: undefined,
      pieces: 0,
      taken: undefined,
    };
    port1.on('message', (message: FromWorker) => this.#onMessage(member, message));
    worker.on('error', (error) => this.#fail(error));
    worker.on('exit', () => this.#onExit(member, port1));
    this.#members.push(member);
    const permits = permitsPerWorker(this.#options.setup.stageSpec);
    for (let count = 0; count < permits; count++) void this.#sendPermit(member);
    return member;
  }

  #onMessage(member: Member, message: FromWorker): void {
    switch (message.kind) {
      case 'result':
        member.answers.get(message.id)?.resolve(message);
        break;
      case 'pack':
        void this.#store(member, message);
        break;
      case 'flushed':
        member.flushed?.resolve();
        break;
      case 'taken':
        member.pieces--;
        member.taken?.resolve();
        member.taken = undefined;
        break;
      case 'failed':
        this.#fail(asError(message.error));
        break;
    }
  }

  async #store(member: Member, pack: StagedPack): Promise<void> {
    const store = this.#options.onPack(pack);
    this.#stores.add(store);
    try {
      await store;
    } catch (error) {
      this.#fail(error);
    } finally {
      // Before the permit, which may take its time (a plugin wraps its key): `flush` waits for stores alone.
      this.#stores.delete(store);
    }
    if (this.#error === undefined) await this.#sendPermit(member);
  }

  async #sendPermit(member: Member): Promise<void> {
    try {
      member.outbox.send(await this.#options.permit());
    } catch (error) {
      this.#fail(error);
    }
  }

  #onExit(member: Member, port: MessagePort): void {
    port.close();
    const isOwed = member.answers.size > 0;
    if (isOwed) this.#fail(new Error('a worker thread of the backup ended before its work'));
  }

  #fail(error: unknown): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#failure.reject(error);
    this.#room?.reject(error);
    for (const { outbox, answers } of this.#members) {
      outbox.giveUp();
      for (const answer of answers.values()) answer.reject(error);
    }
  }
}

async function exitOf(worker: Worker): Promise<void> {
  if (worker.threadId === -1) return;
  await new Promise<void>((resolve) => worker.once('exit', () => resolve()));
}

function asError({
  code,
  message,
  hint,
  stack,
}: {
  code?: string;
  message: string;
  hint?: string;
  stack?: string;
}): Error {
  if (code !== undefined)
    return new SalvageError(code as ErrorCode, message, hint === undefined ? {} : { hint });
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
