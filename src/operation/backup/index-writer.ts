import type { Envelope } from '../../age/envelope.ts';
import { encodeIndexedPack, type IndexedPack } from '../../repository/index-object.ts';
import type { IndexId } from '../../repository/ids.ts';
import { indexName } from '../../repository/layout.ts';
import { limits } from '../../repository/limits.ts';
import { PackWriter } from '../../repository/pack/pack-writer.ts';
import type { Storage } from '../../storage/storage.ts';

/** Writes the index objects of a run (docs/design/format.md "Index objects") as its packs get stored; holds one at most. */
export class IndexWriter {
  readonly #storage: Storage;
  readonly #createEnvelope: () => Promise<Envelope>;
  readonly #signal: AbortSignal;
  readonly #written: IndexId[] = [];
  #queue: Promise<void> = Promise.resolve();
  #writer: PackWriter | undefined;
  storedBytes = 0;

  /** Envelopes for the recipients and the host's own index key. */
  constructor(storage: Storage, createEnvelope: () => Promise<Envelope>, signal: AbortSignal) {
    this.#storage = storage;
    this.#createEnvelope = createEnvelope;
    this.#signal = signal;
  }

  /** Lists a pack that is stored. */
  async add(pack: IndexedPack): Promise<void> {
    // One after the other: all of a pack's lines are in one object.
    const done = this.#queue.then(() => this.#add(pack));
    this.#queue = done.catch(() => {});
    await done;
  }

  /** The names of all index objects, when all are stored. */
  async finish(): Promise<readonly IndexId[]> {
    await this.#queue;
    if (this.#writer) await this.#store('last');
    return this.#written;
  }

  async #add(pack: IndexedPack): Promise<void> {
    this.#writer ??= new PackWriter(await this.#createEnvelope());
    const lines = encodeIndexedPack(pack);
    for (let at = 0; at < lines.length; at += limits.sharedFrame)
      this.#writer.add(lines.subarray(at, at + limits.sharedFrame));
    if (this.#writer.isFull) await this.#store('full');
  }

  async #store(padding: 'full' | 'last'): Promise<void> {
    const { id, parts, sizeBytes } = this.#writer!.finish(padding);
    this.#writer = undefined;
    await this.#storage.create(indexName(id), parts, this.#signal);
    this.#written.push(id);
    this.storedBytes += sizeBytes;
  }
}
