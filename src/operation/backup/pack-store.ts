import type { Envelope } from '../../age/envelope.ts';
import { packName } from '../../repository/layout.ts';
import { BlobList } from '../../repository/pack/blob-list.ts';
import type { PackTable } from '../../repository/pack/pack-table.ts';
import { PackWriter, type PackPadding, type PackWriterOptions } from '../../repository/pack/pack-writer.ts';
import { ObjectStaging, type StagedObject } from '../../storage/staged-object.ts';
import type { Storage } from '../../storage/storage.ts';
import type { IndexWriter } from './index-writer.ts';
import type { JournaledPack, Journal } from './journal.ts';
import type { PackFacts } from './pack-facts.ts';
import type { PackPermit, StagedPack } from './worker-messages.ts';

export interface PackStoreOptions {
  readonly storage: Storage;
  readonly packs: PackTable;
  readonly facts: PackFacts;
  readonly journal: Journal;
  readonly index: IndexWriter;
  /** Envelopes for the recipients. */
  readonly createEnvelope: () => Promise<Envelope>;
  /** Decode all frames again; else those of the first packs. */
  readonly paranoid: boolean;
  readonly packing: Pick<PackWriterOptions, 'targetBytes' | 'level'>;
  readonly signal: AbortSignal;
}

export interface OwnPack {
  readonly number: number;
  readonly writer: PackWriter;
  readonly staging: ObjectStaging;
}

/** The one way of packs into storage: journal first, then storage and index. */
export class PackStore {
  readonly #options: PackStoreOptions;
  readonly #underWay = new Set<Promise<void>>();
  #permits = 0;
  #tree: Promise<void> = Promise.resolve();
  /** Packs that this run has stored or is storing, and their bytes. */
  stored = 0;
  storedBytes = 0;

  constructor(options: PackStoreOptions) {
    this.#options = options;
  }

  /** The permission for a worker to fill a pack. */
  async permit(): Promise<PackPermit> {
    // The first ones: whichever is filled first is checked.
    const checkFrames = this.#options.paranoid || this.#permits++ < firstPermits;
    const envelope = await this.#options.createEnvelope();
    return { kind: 'permit', envelope, pack: this.#options.packs.reserve(), checkFrames };
  }

  /** A pack to fill in this thread, which goes to `storeTree` or is discarded. */
  async open(): Promise<OwnPack> {
    const { createEnvelope, packing, packs, storage } = this.#options;
    const staging = new ObjectStaging(storage.stageSpec);
    const writer = new PackWriter(await createEnvelope(), {
      ...packing,
      checkFrames: true,
      takeParts: (parts) => staging.append(parts),
    });
    return { number: packs.reserve(), writer, staging };
  }

  /** Stores what a worker has finished. It has its name when this is called, and is stored when it has returned. */
  async storeStaged({ number, id, staged, rawBytes, blobs }: StagedPack): Promise<void> {
    const pack = {
      id,
      kind: 'content',
      sizeBytes: staged.sizeBytes,
      blobs: BlobList.fromBytes(blobs),
    } as const;
    await this.#store(number, pack, rawBytes, staged);
  }

  /** Has a tree pack stored that this thread has filled: waits for the one before only, so that one is in memory. */
  async storeTree({ number, writer, staging }: OwnPack, padding: PackPadding): Promise<void> {
    await this.#tree;
    const { id, sizeBytes, rawBytes, blobs } = writer.finish(padding);
    const staged = staging.finish(packName(id));
    this.#tree = this.#store(number, { id, kind: 'tree', sizeBytes, blobs }, rawBytes, staged);
  }

  /** Resolves when everything is stored that has been handed over. @throws what has kept something from being stored */
  async finish(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** Resolves when nothing is on its way any more, however it ended. */
  async quiet(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }

  /** Takes up a pack that is stored already, of a run that did not come to its end or of one that the cache has forgotten. */
  async adopt(pack: JournaledPack, addToIndex: boolean): Promise<number> {
    const { packs, facts, index } = this.#options;
    const number = packs.numberOf(pack.id);
    let rawBytes = 0;
    for (let blob = 0; blob < pack.blobs.count; blob++) rawBytes += pack.blobs.length(blob);
    facts.set(number, { kind: pack.kind, sizeBytes: pack.sizeBytes, rawBytes });
    if (addToIndex)
      await index.add({ pack: pack.id, kind: pack.kind, sizeBytes: pack.sizeBytes, blobs: pack.blobs });
    return number;
  }

  #store(number: number, pack: JournaledPack, rawBytes: number, staged: StagedObject): Promise<void> {
    const { packs, facts, journal } = this.#options;
    journal.append(pack);
    packs.name(number, pack.id);
    facts.set(number, { kind: pack.kind, sizeBytes: pack.sizeBytes, rawBytes });
    this.stored++;
    this.storedBytes += pack.sizeBytes;
    const storing = this.#storeNamed(pack, staged);
    this.#underWay.add(storing);
    // A failure stays, for `finish` to tell.
    storing.then(
      () => this.#underWay.delete(storing),
      () => {},
    );
    return storing;
  }

  async #storeNamed({ id, kind, sizeBytes, blobs }: JournaledPack, staged: StagedObject): Promise<void> {
    const { storage, index, signal } = this.#options;
    await Promise.all([
      storage.createStaged(staged, signal),
      index.add({ pack: id, kind, sizeBytes, blobs }),
    ]);
  }
}

/** As many as workers get before the first pack is stored, on a machine of the usual size. */
const firstPermits = 2;
