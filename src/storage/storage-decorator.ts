import type { StagedObject, StageSpec } from './staged-object.ts';
import type {
  ByteRange,
  CreateResult,
  ObjectLock,
  ObjectStat,
  ObjectVersions,
  Storage,
  StorageCapabilities,
} from './storage.ts';

/**
 * A storage that does what another one does: what decorators begin with, each to change what it is there for. That objects
 * are plain files is not passed on, so that every request goes through.
 */
export class StorageDecorator implements Storage {
  protected readonly inner: Storage;

  constructor(inner: Storage) {
    this.inner = inner;
  }

  get description(): string {
    return this.inner.description;
  }

  get capabilities(): StorageCapabilities {
    return this.inner.capabilities;
  }

  get stageSpec(): StageSpec {
    return this.inner.stageSpec;
  }

  get versions(): ObjectVersions | undefined {
    return this.inner.versions;
  }

  get objectLock(): ObjectLock | undefined {
    return this.inner.objectLock;
  }

  async create(name: string, body: readonly Uint8Array[], signal?: AbortSignal): Promise<CreateResult> {
    return await this.inner.create(name, body, signal);
  }

  async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    return await this.inner.createFromStream(name, body, signal);
  }

  async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    return await this.inner.createStaged(staged, signal);
  }

  async settle(signal?: AbortSignal): Promise<void> {
    await this.inner.settle(signal);
  }

  async read(name: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return await this.inner.read(name, range, signal);
  }

  async stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    return await this.inner.stat(name, signal);
  }

  list(prefix: string, signal?: AbortSignal): AsyncIterable<ObjectStat> {
    return this.inner.list(prefix, signal);
  }

  async remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    return await this.inner.remove(name, signal);
  }

  async removeUnfinished(untouchedMs: number, signal?: AbortSignal): Promise<number> {
    return (await this.inner.removeUnfinished?.(untouchedMs, signal)) ?? 0;
  }

  async close(): Promise<void> {
    await this.inner.close();
  }
}
