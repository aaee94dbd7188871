import { concatBytes } from '../../bytes/bytes.ts';
import { systemClock, type Clock } from '../../clock/clock.ts';
import { checkListPrefix, checkObjectName } from '../object-name.ts';
import { stagedParts, type StagedObject, type StageSpec } from '../staged-object.ts';
import type { ByteRange, CreateResult, ObjectStat, Storage, StorageCapabilities } from '../storage.ts';

/** Objects in a map: for tests, and as the shortest reading of the contract. */
export class MemoryStorage implements Storage {
  readonly description = 'memory';
  readonly capabilities: StorageCapabilities = { exclusiveCreate: true, remove: true };
  readonly stageSpec: StageSpec = { kind: 'transfer' };
  readonly #clock: Clock;
  readonly #objects = new Map<string, { bytes: Uint8Array; receivedAt: Date }>();

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  async create(name: string, body: readonly Uint8Array[], signal?: AbortSignal): Promise<CreateResult> {
    await enter(name, signal);
    if (this.#objects.has(name)) return 'exists';
    this.#objects.set(name, { bytes: concatBytes(body), receivedAt: this.#clock.now() });
    return 'created';
  }

  async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    const parts: Uint8Array[] = [];
    for await (const part of body) {
      signal?.throwIfAborted();
      parts.push(part.slice());
    }
    return await this.create(name, parts, signal);
  }

  async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    return await this.create(staged.name, stagedParts(staged), signal);
  }

  async settle(signal?: AbortSignal): Promise<void> {
    await Promise.resolve();
    signal?.throwIfAborted();
  }

  async read(name: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    await enter(name, signal);
    const offset = range?.offset ?? 0;
    return this.#objects.get(name)?.bytes.slice(offset, range && offset + range.length);
  }

  async stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    await enter(name, signal);
    return this.#stat(name);
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
    checkListPrefix(prefix);
    signal?.throwIfAborted();
    const names = [...this.#objects.keys()].filter((name) => name.startsWith(prefix));
    for (const name of names.sort((a, b) => (a < b ? -1 : 1))) {
      signal?.throwIfAborted();
      const stat = this.#stat(name);
      if (stat) yield stat;
      await Promise.resolve();
    }
  }

  async remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    await enter(name, signal);
    return this.#objects.delete(name) ? 'removed' : 'absent';
  }

  async close(): Promise<void> {}

  #stat(name: string): ObjectStat | undefined {
    const object = this.#objects.get(name);
    return object && { name, sizeBytes: object.bytes.length, receivedAt: object.receivedAt };
  }
}

async function enter(name: string, signal: AbortSignal | undefined): Promise<void> {
  checkObjectName(name);
  signal?.throwIfAborted();
  // As with any other storage, the effect comes later than the call.
  await Promise.resolve();
}
