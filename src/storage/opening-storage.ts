import type { StagedObject, StageSpec } from './staged-object.ts';
import { abortable } from './abortable.ts';
import type {
  ByteRange,
  CreateResult,
  ObjectStat,
  ObjectLock,
  ObjectVersions,
  Storage,
  StorageCapabilities,
} from './storage.ts';

/**
 * Stands for a storage that is still being opened, so that whoever has other things to do first need not wait for it. Every
 * call waits until it is open, and fails as the opening did. For storages that take the parts of objects: an object for a
 * folder is staged where that is.
 */
export class OpeningStorage implements Storage {
  readonly description: string;
  readonly stageSpec: StageSpec = { kind: 'transfer' };
  readonly #opening: Promise<Storage>;
  #opened: Storage | undefined;

  constructor(description: string, opening: Promise<Storage>) {
    this.description = description;
    this.#opening = opening;
    opening.then(
      (storage) => (this.#opened = storage),
      () => {},
    );
  }

  /** Only when a call has been answered. */
  get capabilities(): StorageCapabilities {
    if (!this.#opened) throw new Error('what a storage can do is known when it is open');
    return this.#opened.capabilities;
  }

  get versions(): ObjectVersions | undefined {
    return this.#opened?.versions;
  }

  get objectLock(): ObjectLock | undefined {
    return this.#opened?.objectLock;
  }

  async create(name: string, body: readonly Uint8Array[], signal?: AbortSignal): Promise<CreateResult> {
    return await (await this.#storage(signal)).create(name, body, signal);
  }

  async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    return await (await this.#storage(signal)).createFromStream(name, body, signal);
  }

  async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    return await (await this.#storage(signal)).createStaged(staged, signal);
  }

  async settle(signal?: AbortSignal): Promise<void> {
    await (await this.#storage(signal)).settle(signal);
  }

  async read(name: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return await (await this.#storage(signal)).read(name, range, signal);
  }

  async stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    return await (await this.#storage(signal)).stat(name, signal);
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
    yield* (await this.#storage(signal)).list(prefix, signal);
  }

  async remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    return await (await this.#storage(signal)).remove(name, signal);
  }

  async removeUnfinished(untouchedMs: number, signal?: AbortSignal): Promise<number> {
    return (await (await this.#storage(signal)).removeUnfinished?.(untouchedMs, signal)) ?? 0;
  }

  async close(): Promise<void> {
    await (await this.#opening.catch(() => undefined))?.close();
  }

  async #storage(signal: AbortSignal | undefined): Promise<Storage> {
    return this.#opened ?? (await abortable(this.#opening, signal));
  }
}
