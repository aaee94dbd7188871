import { SalvageError } from '../../src/errors/salvage-error.ts';
import type { StagedObject } from '../../src/storage/staged-object.ts';
import { StorageDecorator } from '../../src/storage/storage-decorator.ts';
import type { ByteRange, CreateResult, ObjectStat, Storage } from '../../src/storage/storage.ts';

export type StorageCall = 'create' | 'settle' | 'read' | 'stat' | 'list' | 'remove';

export type Fault =
  /** Nothing happens, and an error says so. */
  | 'error'
  /** It happens, but an error is all that the caller hears. */
  | 'lost-reply'
  /** Neither happens nor answers, until the signal is aborted or a second, or `timeoutMs`, is over. */
  | 'timeout'
  /** create: half of the body is stored under the name, as by a store that is not atomic; read: half comes back. */
  | 'short';

/** What to do at the n-th call, from 0, of any kind. */
export type FaultPlan = (index: number, call: StorageCall, name: string) => Fault | undefined;

export interface FaultyStorageOptions {
  readonly plan?: FaultPlan;
  /** Every call takes so long. */
  readonly delayMs?: number;
  readonly timeoutMs?: number;
  /** Faults are of the object alone, as the details of their errors say. */
  readonly ofObject?: boolean;
  /** As on an eventually consistent store: a listing lacks the objects created through the last so many creates. */
  readonly listingLag?: number;
}

/** A storage that breaks to order, for tests of what is built on storages. */
export class FaultyStorage extends StorageDecorator {
  /** Calls so far: run once without faults, and you know at how many places one can happen. */
  calls = 0;
  readonly #options: FaultyStorageOptions;
  readonly #created: string[] = [];

  constructor(inner: Storage, options: FaultyStorageOptions = {}) {
    super(inner);
    this.#options = options;
  }

  override get description(): string {
    return `faulty ${this.inner.description}`;
  }

  override async create(
    name: string,
    body: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    const half = async (): Promise<CreateResult> => {
      const whole = Buffer.concat(body);
      await this.inner.create(name, [whole.subarray(0, whole.length >>> 1)], signal);
      throw this.#broken('create', name, 'short');
    };
    return await this.#create(name, () => this.inner.create(name, body, signal), half, signal);
  }

  override async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    const none = (): Promise<CreateResult> => Promise.reject(this.#broken('create', name, 'short'));
    return await this.#create(name, () => this.inner.createFromStream(name, body, signal), none, signal);
  }

  override async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    const none = (): Promise<CreateResult> => Promise.reject(this.#broken('create', staged.name, 'short'));
    return await this.#create(staged.name, () => this.inner.createStaged(staged, signal), none, signal);
  }

  override async settle(signal?: AbortSignal): Promise<void> {
    await this.#call('settle', '', () => this.inner.settle(signal), undefined, signal);
  }

  override async read(
    name: string,
    range?: ByteRange,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const work = (): Promise<Uint8Array | undefined> => this.inner.read(name, range, signal);
    const half = async (): Promise<Uint8Array | undefined> => {
      const bytes = await work();
      return bytes?.subarray(0, bytes.length >>> 1);
    };
    return await this.#call('read', name, work, half, signal);
  }

  override async stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    return await this.#call('stat', name, () => this.inner.stat(name, signal), undefined, signal);
  }

  override async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
    const { listingLag = 0 } = this.#options;
    const unseen = new Set(listingLag > 0 ? this.#created.slice(-listingLag) : []);
    await this.#call('list', prefix, () => Promise.resolve(), undefined, signal);
    for await (const object of this.inner.list(prefix, signal)) if (!unseen.has(object.name)) yield object;
  }

  override async remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    return await this.#call('remove', name, () => this.inner.remove(name, signal), undefined, signal);
  }

  async #create(
    name: string,
    work: () => Promise<CreateResult>,
    half: () => Promise<CreateResult>,
    signal: AbortSignal | undefined,
  ): Promise<CreateResult> {
    const result = await this.#call('create', name, work, half, signal);
    if (result === 'created') this.#created.push(name);
    return result;
  }

  async #call<T>(
    call: StorageCall,
    name: string,
    work: () => Promise<T>,
    half: (() => Promise<T>) | undefined,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const fault = this.#options.plan?.(this.calls++, call, name);
    if (this.#options.delayMs) await pause(this.#options.delayMs, signal);
    if (fault === 'short' && half) return await half();
    if (fault === 'timeout') await pause(this.#options.timeoutMs ?? 1000, signal);
    if (fault && fault !== 'lost-reply') throw this.#broken(call, name, fault);
    const result = await work();
    if (fault) throw this.#broken(call, name, fault);
    return result;
  }

  #broken(call: StorageCall, name: string, fault: Fault): SalvageError {
    const details = this.#options.ofObject ? { details: { object: name } } : {};
    return new SalvageError('failed', `Cannot ${call} "${name}": ${fault}, on purpose`, details);
  }
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
  signal?.throwIfAborted();
}
