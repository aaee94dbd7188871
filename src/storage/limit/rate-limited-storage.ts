import { setTimeout } from 'node:timers/promises';
import type { Clock } from '../../clock/clock.ts';
import type { StagedObject, StageSpec } from '../staged-object.ts';
import type {
  ByteRange,
  CreateResult,
  ObjectLock,
  ObjectStat,
  ObjectVersions,
  Storage,
  StorageCapabilities,
} from '../storage.ts';

/**
 * Stores no more than so many bytes a second, on the average since the first: an object begins only when those before it
 * have had their time. Reading is not limited.
 */
export class RateLimitedStorage implements Storage {
  readonly #inner: Storage;
  readonly #bytesPerSecond: number;
  readonly #clock: Clock;
  /** When all that has been begun has had its time. */
  #freeAtMs = 0;

  constructor(inner: Storage, bytesPerSecond: number, clock: Clock) {
    this.#inner = inner;
    this.#bytesPerSecond = bytesPerSecond;
    this.#clock = clock;
  }

  get description(): string {
    return this.#inner.description;
  }

  get capabilities(): StorageCapabilities {
    return this.#inner.capabilities;
  }

  get stageSpec(): StageSpec {
    return this.#inner.stageSpec;
  }

  get versions(): ObjectVersions | undefined {
    return this.#inner.versions;
  }

  get objectLock(): ObjectLock | undefined {
    return this.#inner.objectLock;
  }

  async create(name: string, body: readonly Uint8Array[], signal?: AbortSignal): Promise<CreateResult> {
    await this.#wait(
      body.reduce((sum, part) => sum + part.length, 0),
      signal,
    );
    return await this.#inner.create(name, body, signal);
  }

  async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    return await this.#inner.createFromStream(name, this.#slowed(body, signal), signal);
  }

  async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    await this.#wait(staged.sizeBytes, signal);
    return await this.#inner.createStaged(staged, signal);
  }

  async settle(signal?: AbortSignal): Promise<void> {
    await this.#inner.settle(signal);
  }

  async read(name: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return await this.#inner.read(name, range, signal);
  }

  async stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    return await this.#inner.stat(name, signal);
  }

  list(prefix: string, signal?: AbortSignal): AsyncIterable<ObjectStat> {
    return this.#inner.list(prefix, signal);
  }

  async remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    return await this.#inner.remove(name, signal);
  }

  async removeUnfinished(untouchedMs: number, signal?: AbortSignal): Promise<number> {
    return (await this.#inner.removeUnfinished?.(untouchedMs, signal)) ?? 0;
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  async *#slowed(body: AsyncIterable<Uint8Array>, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    for await (const part of body) {
      await this.#wait(part.length, signal);
      yield part;
    }
  }

  async #wait(bytes: number, signal?: AbortSignal): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + (bytes / this.#bytesPerSecond) * 1000;
    const waitMs = this.#freeAtMs - nowMs;
    if (waitMs > 1) await setTimeout(waitMs, undefined, signal ? { signal } : {}).catch(() => {});
    signal?.throwIfAborted();
  }
}
