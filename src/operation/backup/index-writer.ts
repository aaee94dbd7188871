import type { Envelope } from '../../age/envelope.ts';
import { encodeIndexedPack, type IndexedPack } from '../../repository/index-object.ts';
import type { IndexId } from '../../repository/ids.ts';
import { indexName } from '../../repository/layout.ts';
import { PackWriter, type PackPadding } from '../../repository/pack/pack-writer.ts';
import { ObjectStaging } from '../../storage/staged-object.ts';
import type { Storage } from '../../storage/storage.ts';

/** Writes the index objects of a run (docs/design/format.md "Index objects") as its packs get stored; holds one at most, and only where it cannot go to a file. */
export class IndexWriter {
  readonly #storage: Storage;
  readonly #createEnvelope: () => Promise<Envelope>;
  readonly #signal: AbortSignal;
  readonly #written: IndexId[] = [];
  #queue: Promise<void> = Promise.resolve();
  #open: { readonly writer: PackWriter; readonly staging: ObjectStaging } | undefined;
  #last: Promise<void> = Promise.resolve();
  /** Of what is stored, or on its way. */
  storedBytes = 0;

  /** Envelopes for the recipients and the host's own index key. */
  constructor(storage: Storage, createEnvelope: () => Promise<Envelope>, signal: AbortSignal) {
    this.#storage = storage;
    this.#createEnvelope = createEnvelope;
    this.#signal = signal;
  }

  /** Lists a pack that is stored, or will be before the snapshot is signed. */
  async add(pack: IndexedPack): Promise<void> {
    // One after the other: all of a pack's lines are in one object.
    const done = this.#queue.then(() => this.#add(pack));
    this.#queue = done.catch(() => {});
    await done;
  }

  /** The names of all index objects; the last of them is on its way then: see `stored`. */
  async finish(): Promise<readonly IndexId[]> {
    await this.#queue;
    if (this.#open) {
      this.#last = this.#store('last');
      this.#last.catch(() => {});
    }
    return this.#written;
  }

  /** After `finish`: resolves when all are stored. */
  async stored(): Promise<void> {
    await this.#last;
  }

  /** Gives up an object that is not stored: to be called however the run ends. */
  discard(): void {
    this.#open?.staging.discard();
  }

  async #add(pack: IndexedPack): Promise<void> {
    this.#open ??= await this.#begin();
    const { writer } = this.#open;
    for (const line of encodeIndexedPack(pack)) writer.add(line);
    if (writer.isFull) await this.#store('full');
  }

  async #begin(): Promise<{ readonly writer: PackWriter; readonly staging: ObjectStaging }> {
    const envelope = await this.#createEnvelope();
    const staging = new ObjectStaging(this.#storage.stageSpec);
    const writer = new PackWriter(envelope, { takeParts: (parts) => staging.append(parts) });
    return { writer, staging };
  }

  async #store(padding: PackPadding): Promise<void> {
    const { writer, staging } = this.#open!;
    this.#open = undefined;
    const { id, sizeBytes } = writer.finish(padding);
    this.#written.push(id);
    this.storedBytes += sizeBytes;
    await this.#storage.createStaged(staging.finish(indexName(id)), this.#signal);
  }
}
