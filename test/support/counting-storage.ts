import type { StagedObject, StageSpec } from '../../src/storage/staged-object.ts';
import { StorageDecorator } from '../../src/storage/storage-decorator.ts';
import type { ByteRange, CreateResult, ObjectStat } from '../../src/storage/storage.ts';

/** Counts what is asked of a storage. Hides that its objects are plain files, so that everything is asked. */
export class CountingStorage extends StorageDecorator {
  /** One line for each request. */
  readonly requests: string[] = [];
  /** Bytes read, by object. */
  readonly bytesRead: Map<string, number> = new Map();

  override get stageSpec(): StageSpec {
    return { kind: 'transfer' };
  }

  reset(): void {
    this.requests.length = 0;
    this.bytesRead.clear();
  }

  override create(name: string, body: readonly Uint8Array[], signal?: AbortSignal): Promise<CreateResult> {
    this.requests.push(`create ${name}`);
    return this.inner.create(name, body, signal);
  }

  override createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    this.requests.push(`create ${name}`);
    return this.inner.createFromStream(name, body, signal);
  }

  override createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    this.requests.push(`create ${staged.name}`);
    return this.inner.createStaged(staged, signal);
  }

  override async read(
    name: string,
    range?: ByteRange,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    this.requests.push(`read ${name} ${range?.offset ?? 0}+${range?.length ?? 'all'}`);
    const bytes = await this.inner.read(name, range, signal);
    this.bytesRead.set(name, (this.bytesRead.get(name) ?? 0) + (bytes?.length ?? 0));
    return bytes;
  }

  override stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    this.requests.push(`stat ${name}`);
    return this.inner.stat(name, signal);
  }

  override list(prefix: string, signal?: AbortSignal): AsyncIterable<ObjectStat> {
    this.requests.push(`list ${prefix}`);
    return this.inner.list(prefix, signal);
  }

  override remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    this.requests.push(`remove ${name}`);
    return this.inner.remove(name, signal);
  }
}
