import type { StagedObject, StageSpec } from '../staged-object.ts';
import { checkListPrefix, checkObjectName } from '../object-name.ts';
import type { ByteRange, CreateResult, ObjectStat, Storage, StorageCapabilities } from '../storage.ts';

/**
 * The objects of another storage whose names start with a prefix, under what follows it. Nothing else can be reached.
 * `close` leaves the other storage open: it may have more than one scope. Versions and locks are not passed on.
 */
export class ScopedStorage implements Storage {
  readonly #inner: Storage;
  readonly #prefix: string;

  readonly capabilities: StorageCapabilities;

  /** `prefix` ends in a slash. `capabilities` are given where more is known of them than the other storage tells. */
  constructor(inner: Storage, prefix: string, capabilities: StorageCapabilities = inner.capabilities) {
    checkObjectName(prefix.slice(0, -1));
    this.#inner = inner;
    this.#prefix = prefix;
    this.capabilities = capabilities;
  }

  get description(): string {
    return this.#inner.description;
  }

  get stageSpec(): StageSpec {
    return this.#inner.stageSpec;
  }

  async create(name: string, body: readonly Uint8Array[], signal?: AbortSignal): Promise<CreateResult> {
    return await this.#inner.create(this.#scoped(name), body, signal);
  }

  async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    return await this.#inner.createFromStream(this.#scoped(name), body, signal);
  }

  async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    return await this.#inner.createStaged({ ...staged, name: this.#scoped(staged.name) }, signal);
  }

  async settle(signal?: AbortSignal): Promise<void> {
    await this.#inner.settle(signal);
  }

  async read(name: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return await this.#inner.read(this.#scoped(name), range, signal);
  }

  async stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    const stat = await this.#inner.stat(this.#scoped(name), signal);
    return stat && { ...stat, name };
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
    checkListPrefix(prefix);
    for await (const stat of this.#inner.list(this.#prefix + prefix, signal))
      yield { ...stat, name: stat.name.slice(this.#prefix.length) };
  }

  async remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    return await this.#inner.remove(this.#scoped(name), signal);
  }

  async close(): Promise<void> {}

  #scoped(name: string): string {
    checkObjectName(name);
    return this.#prefix + name;
  }
}
