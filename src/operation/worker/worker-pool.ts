import { MessageChannel, receiveMessageOnPort, type MessagePort, type Worker } from 'node:worker_threads';
import { startWorker } from '../../bundle/start-worker.ts';
import { describeFailure, reviveFailure } from '../../errors/worker-failure.ts';
import type { Storage } from '../../storage/storage.ts';
import { Outbox, type InboxEnd } from './inbox.ts';
import type { FromThread, ObjectAnswer, ObjectRequest, ThreadSetup, ToThread } from './worker-messages.ts';

export interface WorkerPoolOptions<Supply, Notice> {
  /** A module that calls `serveJobs`. */
  readonly module: URL;
  /** The most that are started. */
  readonly threads: number;
  /** What every thread gets. */
  readonly settings: unknown;
  /** Whose objects the threads may read. */
  readonly storage?: Storage;
  /** A thread may be supplied with what its jobs will need. */
  readonly onStart?: (thread: PoolThread<Supply>) => void;
  readonly onNotice?: (notice: Notice, thread: PoolThread<Supply>) => void;
  /** Ends everything with its reason. */
  readonly signal?: AbortSignal;
}

/** Where to send what the jobs of one thread need. */
export interface PoolThread<Supply> {
  supply(supply: Supply, transfer?: readonly ArrayBuffer[]): void;
}

interface Member<Job, Answer, Supply> extends PoolThread<Supply> {
  readonly ended: Promise<unknown>;
  readonly outbox: Outbox<ToThread<Job, Supply>>;
  /** In the order in which the thread answers. */
  readonly waiting: PromiseWithResolvers<Answer>[];
}

/** One job in work and one that waits, so that a thread never idles while the next one is on its way. */
const jobsPerThread = 2;
/** Everything large is outside the heap; a small one keeps the whole process small. */
const heapLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 256 };

/**
 * Worker threads that each do one job after the other and answer in order. They are started when there is something for
 * them to do. The first failure, of a thread or of whoever calls `fail`, ends all that is waited for.
 */
export class WorkerPool<Job, Answer, Supply = never, Notice = never> {
  readonly #options: WorkerPoolOptions<Supply, Notice>;
  readonly #members: Member<Job, Answer, Supply>[] = [];
  readonly #failure = Promise.withResolvers<never>();
  #hasFailed = false;
  /** Resolved as soon as a thread has answered, or all is over. */
  #answered: PromiseWithResolvers<void> | undefined;
  readonly #abort = (): void => this.fail(this.#options.signal!.reason);

  constructor(options: WorkerPoolOptions<Supply, Notice>) {
    this.#options = options;
    // Whoever waits hears of it by `orFailure`; nobody may wait just now.
    this.#failure.promise.catch(() => {});
    options.signal?.addEventListener('abort', this.#abort, { once: true });
    if (options.signal?.aborted) this.#abort();
  }

  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** Resolves as soon as a thread could take another job. @throws what made the pool fail */
  async ready(): Promise<void> {
    while (!this.#hasFailed && !this.#hasRoom()) {
      this.#answered ??= Promise.withResolvers();
      await this.#answered.promise;
    }
    if (this.#hasFailed) await this.#failure.promise;
  }

  /** Hands the job to the thread that has the least to do, without waiting for its turn: see `ready`. */
  run(job: Job, transfer: readonly ArrayBuffer[] = []): Promise<Answer> {
    return this.#hasFailed ? this.#failure.promise : this.#give(this.#leastBusy(), job, transfer);
  }

  /** Hands the same job to every thread that was started. @throws what made the pool fail */
  async runOnEach(job: Job): Promise<Answer[]> {
    if (this.#hasFailed) await this.#failure.promise;
    return await Promise.all(this.#members.map((member) => this.#give(member, job, [])));
  }

  /** The promise's value, unless the pool fails before. @throws what made it fail */
  async orFailure<T>(promise: Promise<T>): Promise<T> {
    return await Promise.race([promise, this.#failure.promise]);
  }

  /** Ends all work with this error, if nothing has failed before. */
  fail(error: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#failure.reject(error);
    for (const { outbox, waiting } of this.#members) {
      outbox.giveUp();
      for (const { reject } of waiting.splice(0)) reject(error);
    }
    this.#wake();
  }

  /** Ends the threads by a message, each where it next looks: one that is just loading native code must not be killed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#options.signal?.removeEventListener('abort', this.#abort);
    this.fail(new Error('the worker threads were ended'));
    await Promise.all(this.#members.map(({ ended }) => ended));
  }

  #wake(): void {
    this.#answered?.resolve();
    this.#answered = undefined;
  }

  #hasRoom(): boolean {
    return (
      this.#members.length < this.#options.threads ||
      this.#members.some(({ waiting }) => waiting.length < jobsPerThread)
    );
  }

  #leastBusy(): Member<Job, Answer, Supply> {
    const [first, ...others] = this.#members;
    let best = first;
    for (const other of others) if (other.waiting.length < best!.waiting.length) best = other;
    const isBusy = !best || best.waiting.length > 0;
    return isBusy && this.#members.length < this.#options.threads ? this.#start() : best!;
  }

  #give(member: Member<Job, Answer, Supply>, job: Job, transfer: readonly ArrayBuffer[]): Promise<Answer> {
    const answer = Promise.withResolvers<Answer>();
    // Whoever waits for it may be busy elsewhere when it fails.
    answer.promise.catch(() => {});
    member.waiting.push(answer);
    member.outbox.send({ kind: 'job', job }, transfer);
    return answer.promise;
  }

  #start(): Member<Job, Answer, Supply> {
    const { module, settings, storage, onStart } = this.#options;
    const { port1, port2 } = new MessageChannel();
    const inbox: InboxEnd = { port: port2, state: new SharedArrayBuffer(8) };
    const setup: ThreadSetup<unknown> = { inbox, settings, objectsFolder: storage?.objectsFolder };
    const worker: Worker = startWorker(module, {
      workerData: setup,
      transferList: [port2],
      resourceLimits: heapLimits,
    });
    const outbox = new Outbox<ToThread<Job, Supply>>({ port: port1, state: inbox.state });
    const member: Member<Job, Answer, Supply> = {
      ended: new Promise((resolve) => worker.once('exit', resolve)),
      outbox,
      waiting: [],
      supply: (supply, transfer) => outbox.send({ kind: 'supply', supply }, transfer),
    };
    port1.on('message', (message: FromThread<Answer, Notice>) => this.#take(member, message));
    worker.on('error', (error) => this.fail(error));
    worker.once('exit', () => this.#onExit(member, port1));
    this.#members.push(member);
    onStart?.(member);
    return member;
  }

  #take(member: Member<Job, Answer, Supply>, message: FromThread<Answer, Notice>): void {
    switch (message.kind) {
      case 'answer':
        // After a failure nobody waits any more.
        member.waiting.shift()?.resolve(message.answer);
        this.#wake();
        break;
      case 'notice':
        this.#options.onNotice?.(message.notice, member);
        break;
      case 'read':
        void this.#read(member, message.request);
        break;
      case 'failed':
        this.fail(reviveFailure(message.failure));
        break;
    }
  }

  async #read({ outbox }: Member<Job, Answer, Supply>, { name, range }: ObjectRequest): Promise<void> {
    const { storage, signal } = this.#options;
    let answer: ObjectAnswer;
    try {
      answer = { bytes: await storage!.read(name, range, signal) };
    } catch (error) {
      answer = { failure: describeFailure(error) };
    }
    outbox.send({ kind: 'object', answer }, ownMemory(answer));
  }

  #onExit(member: Member<Job, Answer, Supply>, port: MessagePort): void {
    // What it said last may not have come up yet.
    for (let last; (last = receiveMessageOnPort(port));)
      this.#take(member, last.message as FromThread<Answer, Notice>);
    port.close();
    if (member.waiting.length > 0) this.fail(new Error('a worker thread ended before its work'));
  }
}

/** What can be handed over. A view of a part (of Node's pool, say) is copied. */
function ownMemory(answer: ObjectAnswer): ArrayBuffer[] {
  if (!('bytes' in answer) || !answer.bytes) return [];
  const { buffer, byteLength } = answer.bytes;
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? [buffer] : [];
}
