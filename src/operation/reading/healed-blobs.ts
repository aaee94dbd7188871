import { SalvageError } from '../../errors/salvage-error.ts';
import type { PackId } from '../../repository/ids.ts';
import { IndexDecoder, type IndexedPack } from '../../repository/index-object.ts';
import { indexPrefix, roleOf } from '../../repository/layout.ts';
import type { Storage } from '../../storage/storage.ts';
import type { RemotePack } from './sealed-objects.ts';

/** Where a blob lies. Nothing vouches for it but the SHA-256 of what is found there. */
export interface BlobPlace {
  readonly pack: PackId;
  readonly offset: number;
  readonly length: number;
}

/** Index objects that are looked at: storage may hold any number. */
const mostIndexes = 10_000;
/** Damaged packs whose blobs are looked for: each costs a reading of the whole index. */
const mostPacks = 64;
const keptPacks = 4;
const placesPerBlob = 3;

/**
 * Finds blobs of a damaged pack in other packs: where a host has healed it, or stored the same content for other reasons.
 * What index objects say is not believed, only followed. Nothing is read before something is looked for.
 */
export class HealedBlobs {
  readonly #storage: Storage;
  readonly #open: (name: string) => Promise<RemotePack>;
  readonly #signal: AbortSignal | undefined;
  #indexes: Promise<Map<PackId, string>> | undefined;
  readonly #places = new Map<PackId, Promise<ReadonlyMap<string, readonly BlobPlace[]>>>();
  #looked = 0;

  /** `open` opens an index object with the restorer's identities. */
  constructor(storage: Storage, open: (name: string) => Promise<RemotePack>, signal?: AbortSignal) {
    this.#storage = storage;
    this.#open = open;
    this.#signal = signal;
  }

  /** Where else the blob may be that was in this pack. @throws failed */
  async find(pack: PackId, digest: Uint8Array): Promise<readonly BlobPlace[]> {
    let places = this.#places.get(pack);
    if (!places) {
      if (++this.#looked > mostPacks) return [];
      places = this.#findAll(pack);
      this.#places.set(pack, places);
      if (this.#places.size > keptPacks) this.#places.delete(this.#places.keys().next().value!);
    }
    return (await places).get(keyOf(digest)) ?? [];
  }

  async #findAll(pack: PackId): Promise<ReadonlyMap<string, readonly BlobPlace[]>> {
    const places = new Map<string, BlobPlace[]>();
    this.#indexes ??= this.#mapPacks();
    const indexes = await this.#indexes;
    const own = indexes.get(pack);
    if (own === undefined) return places;
    await this.#read(own, (indexed) => {
      if (indexed.pack === pack)
        for (let blob = 0; blob < indexed.blobs.count; blob++)
          places.set(keyOf(indexed.blobs.digest(blob)), []);
    });
    for (const name of new Set(indexes.values()))
      await this.#read(name, ({ pack: other, blobs }) => {
        if (other === pack) return;
        for (let blob = 0, offset = 0; blob < blobs.count; blob++) {
          const length = blobs.length(blob);
          const found = places.get(keyOf(blobs.digest(blob)));
          if (found && found.length < placesPerBlob) found.push({ pack: other, offset, length });
          offset += length;
        }
      });
    return places;
  }

  /** The index object that lists each pack. */
  async #mapPacks(): Promise<Map<PackId, string>> {
    const names: string[] = [];
    for await (const { name } of this.#storage.list(indexPrefix, this.#signal)) {
      if (roleOf(name)?.kind === 'index') names.push(name);
      if (names.length === mostIndexes) break;
    }
    const indexes = new Map<PackId, string>();
    for (const name of names) await this.#read(name, ({ pack }) => indexes.set(pack, name));
    return indexes;
  }

  /** An index object that cannot be read tells nothing. */
  async #read(name: string, onPack: (pack: IndexedPack) => void): Promise<void> {
    try {
      const object = await this.#open(name);
      const decoder = new IndexDecoder(name, onPack);
      for (const index of object.reader.frames.keys()) {
        this.#signal?.throwIfAborted();
        decoder.push(await object.run(object.reader.readFrame(index)));
      }
      decoder.finish();
    } catch (error) {
      if (!(error instanceof SalvageError) || !['damaged', 'no-identity-match'].includes(error.code))
        throw error;
    }
  }
}

function keyOf(digest: Uint8Array): string {
  return Buffer.from(digest.buffer, digest.byteOffset, digest.length).toString('latin1');
}
