import { setTimeout } from 'node:timers/promises';
import type { Clock } from '../../clock/clock.ts';
import type { StagedObject } from '../staged-object.ts';
import { StorageDecorator } from '../storage-decorator.ts';
import type { CreateResult, Storage } from '../storage.ts';

/**
 * Stores no more than so many bytes a second, on the average since the first: an object begins only when those before it
 * have had their time. Reading is not limited.
 */
export class RateLimitedStorage extends StorageDecorator {
  readonly #bytesPerSecond: number;
  readonly #clock: Clock;
  /** When all that has been begun has had its time. */
  #freeAtMs = 0;

  constructor(inner: Storage, bytesPerSecond: number, clock: Clock) {
    super(inner);
    this.#bytesPerSecond = bytesPerSecond;
    this.#clock = clock;
  }

  override async create(
    name: string,
    body: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    await this.#wait(
      body.reduce((sum, part) => sum + part.length, 0),
      signal,
    );
    return await super.create(name, body, signal);
  }

  override async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    return await super.createFromStream(name, this.#slowed(body, signal), signal);
  }

  override async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    await this.#wait(staged.sizeBytes, signal);
    return await super.createStaged(staged, signal);
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
