import { SalvageError } from '../../errors/salvage-error.ts';
import type { StagedObject } from '../staged-object.ts';
import { StorageDecorator } from '../storage-decorator.ts';
import type { ByteRange, CreateResult, ObjectStat, Storage } from '../storage.ts';
import { findTransient } from '../transient-error.ts';
import { Backoff, retry, type RetrySettings } from './backoff.ts';
import { ObjectEnds } from './object-ends.ts';

/**
 * Asks again, after a pause, where the error is transient (transient-error.ts) and asking again is safe:
 * - `read`, `stat`, `settle`: they change nothing that could not be changed twice.
 * - `list`: goes on behind the last name that was given out.
 * - `remove`: what is absent after an attempt whose outcome is unknown counts as removed by it.
 * - `create`: after an attempt whose outcome is unknown, storage is looked at first. An object that has the size, the
 *   beginning and the end of the body is the one that this call stored, and its reply was lost; any other is somebody else's.
 * - `createFromStream`: repeated only while nothing of the body has been taken, for bytes that are gone cannot be sent
 *   again; after a failure behind the body's end storage is looked at as for `create`. A storage that can go on with an
 *   upload over a new connection does so by itself.
 * - `versions` and `objectLock` change nothing that could not be changed twice: they ask again by themselves.
 */
export class RetryingStorage extends StorageDecorator {
  readonly #settings: RetrySettings;

  constructor(inner: Storage, settings: RetrySettings) {
    super(inner);
    this.#settings = settings;
  }

  override async create(
    name: string,
    body: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    const backoff = new Backoff(this.#settings);
    let isUncertain = false;
    for (;;) {
      try {
        if (isUncertain && (await this.inner.stat(name, signal)))
          return await this.#whose(name, body, signal);
        const result = await this.inner.create(name, body, signal);
        return result === 'exists' && isUncertain ? await this.#whose(name, body, signal) : result;
      } catch (error) {
        isUncertain = true;
        await backoff.wait(error, signal);
      }
    }
  }

  override async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    const backoff = new Backoff(this.#settings);
    const noted = new NotedStream(body);
    for (;;) {
      try {
        return await this.inner.createFromStream(name, noted, signal);
      } catch (error) {
        if (noted.isUntouched) await backoff.wait(error, signal);
        else if (noted.isAtEnd && findTransient(error)) {
          const isStored = await this.#retry(() => noted.ends.areIn(this.inner, name, signal), signal);
          if (isStored) return 'created';
          throw error;
        } else throw error;
      }
    }
  }

  override async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    // A staged file is used up by the first attempt.
    if (staged.content.kind === 'file') return await this.inner.createStaged(staged, signal);
    return await this.create(staged.name, staged.content.parts, signal);
  }

  override async settle(signal?: AbortSignal): Promise<void> {
    await this.#retry(() => this.inner.settle(signal), signal);
  }

  override async read(
    name: string,
    range?: ByteRange,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    return await this.#retry(() => this.inner.read(name, range, signal), signal);
  }

  override async stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    return await this.#retry(() => this.inner.stat(name, signal), signal);
  }

  override async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
    const backoff = new Backoff(this.#settings);
    let last = '';
    for (;;) {
      try {
        for await (const object of this.inner.list(prefix, signal)) {
          if (object.name <= last) continue;
          last = object.name;
          backoff.reset();
          yield object;
        }
        return;
      } catch (error) {
        await backoff.wait(error, signal);
      }
    }
  }

  override async remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    const backoff = new Backoff(this.#settings);
    let isUncertain = false;
    for (;;) {
      try {
        const result = await this.inner.remove(name, signal);
        return isUncertain ? 'removed' : result;
      } catch (error) {
        isUncertain = true;
        await backoff.wait(error, signal);
      }
    }
  }

  override async removeUnfinished(untouchedMs: number, signal?: AbortSignal): Promise<number> {
    return await this.#retry(
      async () => (await this.inner.removeUnfinished?.(untouchedMs, signal)) ?? 0,
      signal,
    );
  }

  async #retry<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return await retry(this.#settings, work, signal);
  }

  /** Decides who stored the object that an attempt of unknown outcome left behind, or met. */
  async #whose(name: string, body: readonly Uint8Array[], signal?: AbortSignal): Promise<CreateResult> {
    try {
      return (await ObjectEnds.of(body).areIn(this.inner, name, signal)) ? 'created' : 'exists';
    } catch (error) {
      // An account that may write and not read: nothing can be known, and 'exists' claims the least.
      if (error instanceof SalvageError && !findTransient(error) && !signal?.aborted) return 'exists';
      throw error;
    }
  }
}

/** Notes how far a stream has been read, and the ends of what was. */
class NotedStream implements AsyncIterable<Uint8Array> {
  readonly ends = new ObjectEnds();
  isUntouched = true;
  isAtEnd = false;
  readonly #body: AsyncIterable<Uint8Array>;

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#body = body;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    this.isUntouched = false;
    for await (const part of this.#body) {
      this.ends.add(part);
      yield part;
    }
    this.isAtEnd = true;
  }
}
