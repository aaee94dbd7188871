import type { StagedObject, StageSpec } from '../../src/storage/staged-object.ts';
import type {
  ByteRange,
  CreateResult,
  ObjectLock,
  ObjectStat,
  ObjectVersions,
  Storage,
  StorageCapabilities,
} from '../../src/storage/storage.ts';

/** Counts what is asked of a storage. Hides that its objects are plain files, so that everything is asked. */
export class CountingStorage implements Storage {
  readonly description: string;
  readonly capabilities: StorageCapabilities;
  readonly stageSpec: StageSpec = { kind: 'transfer' };
  readonly versions: ObjectVersions | undefined;
  readonly objectLock: ObjectLock | undefined;
  readonly #storage: Storage;
  /** One line for each request. */
  readonly requests: string[] = [];
  /** Bytes read, by object. */
  readonly bytesRead: Map<string, number> = new Map();

  constructor(storage: Storage) {
    this.#storage = storage;
    this.description = storage.description;
    this.capabilities = storage.capabilities;
    this.versions = storage.versions;
    this.objectLock = storage.objectLock;
  }

  reset(): void {
    this.requests.length = 0;
    this.bytesRead.clear();
  }

  create(name: string, body: readonly Uint8Array[], signal?: AbortSignal): Promise<CreateResult> {
    this.requests.push(`create ${name}`);
    return this.#storage.create(name, body, signal);
  }

  createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    this.requests.push(`create ${name}`);
    return this.#storage.createFromStream(name, body, signal);
  }

  createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    this.requests.push(`create ${staged.name}`);
    return this.#storage.createStaged(staged, signal);
  }

  settle(signal?: AbortSignal): Promise<void> {
    return this.#storage.settle(signal);
  }

  async read(name: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    this.requests.push(`read ${name} ${range?.offset ?? 0}+${range?.length ?? 'all'}`);
    const bytes = await this.#storage.read(name, range, signal);
    this.bytesRead.set(name, (this.bytesRead.get(name) ?? 0) + (bytes?.length ?? 0));
    return bytes;
  }

  stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    this.requests.push(`stat ${name}`);
    return this.#storage.stat(name, signal);
  }

  list(prefix: string, signal?: AbortSignal): AsyncIterable<ObjectStat> {
    this.requests.push(`list ${prefix}`);
    return this.#storage.list(prefix, signal);
  }

  remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    this.requests.push(`remove ${name}`);
    return this.#storage.remove(name, signal);
  }

  close(): Promise<void> {
    return this.#storage.close();
  }
}
