import { headerLimits, HeaderParser } from '../../age/header.ts';
import { openEnvelope } from '../../age/envelope.ts';
import type { Identity } from '../../age/recipient.ts';
import type { Stanza } from '../../age/stanza.ts';
import { payloadNonceBytes } from '../../age/payload.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { damagedObject, namingDamage } from '../../repository/damage.ts';
import { packName, roleOf } from '../../repository/layout.ts';
import { fetchAsync, fetchSync, fromBytes, type Fetch } from '../../repository/pack/fetch.ts';
import { PackReader, type SealedObject } from '../../repository/pack/pack-reader.ts';
import type { ByteRange, Storage } from '../../storage/storage.ts';
import { findNamedByDigest, tellsOfDamage } from './find-original.ts';
import { HealedBlobs } from './healed-blobs.ts';
import { HeldRanges } from './held-ranges.ts';
import { mayBeRewrapped, type RewrappedObjects } from './rewrapped-objects.ts';

/** A header for a few recipients, post-quantum ones too, and the nonce after it. */
const firstReadBytes = 16 * 1024;
/** Readers kept open, each with a frame of 1 MiB as a rule. */
const openReaders = 6;
const keptKeys = 4096;
/** Of the objects that are expected, so many are looked at together, so many at a time. */
const announcedTogether = 512;
const headsAtATime = 8;

/** An object that can be opened: what a worker thread needs to read it. */
export interface OpenedObject extends SealedObject {
  /** The first bytes of the object, header and nonce among them. */
  readonly head: Uint8Array;
}

/** A pack that is read bit by bit from storage. */
export class RemotePack {
  readonly #reader: PackReader;
  readonly #held: HeldRanges;
  readonly #read: (range: ByteRange) => Promise<Uint8Array>;

  constructor(reader: PackReader, held: HeldRanges, read: (range: ByteRange) => Promise<Uint8Array>) {
    this.#reader = reader;
    this.#held = held;
    this.#read = read;
  }

  get reader(): PackReader {
    return this.#reader;
  }

  /** The blob, if it has this SHA-256. @throws damaged */
  async readBlob(offset: number, length: number, digest: Uint8Array): Promise<Uint8Array> {
    return await this.run(this.#reader.readBlob(offset, length, digest));
  }

  async run<T>(work: Fetch<T>): Promise<T> {
    return await fetchAsync(this.#held.serve(work), this.#read);
  }
}

/**
 * Opens the encrypted objects of a repository with the restorer's identities. The identities are asked once per object;
 * what they answer is kept. Everything that storage returns is taken for hostile.
 */
export class SealedObjects {
  readonly #storage: Storage;
  readonly #identities: readonly Identity[];
  readonly #signal: AbortSignal | undefined;
  readonly #rewrapped: RewrappedObjects | undefined;
  readonly #healed: HealedBlobs | undefined;
  readonly #opened = new Map<string, Promise<OpenedObject>>();
  readonly #packs = new Map<string, Promise<RemotePack>>();
  /** Objects that will be opened, and of some of them the beginning. */
  readonly #expected = new Set<string>();
  readonly #heads = new Map<string, Uint8Array>();
  #announcing: Promise<void> = Promise.resolve();

  /**
   * With `rewrapped`, an object that is gone or for others is read in the form that stands for it; with `healed`, blobs of
   * a pack that is damaged are looked for in others.
   */
  constructor(
    storage: Storage,
    identities: readonly Identity[],
    signal?: AbortSignal,
    rewrapped?: RewrappedObjects,
    { healed = false }: { readonly healed?: boolean } = {},
  ) {
    this.#storage = storage;
    this.#identities = identities;
    this.#signal = signal;
    this.#rewrapped = rewrapped;
    this.#healed = healed ? new HealedBlobs(storage, (name) => this.pack(name), signal) : undefined;
  }

  get rewrapped(): RewrappedObjects | undefined {
    return this.#rewrapped;
  }

  /**
   * Tells of objects that are likely to be opened. Where an identity may ask a human, the first opening of anything then
   * reads the headers of many, so that one PIN or one touch serves them all. Nothing is read now, or for other identities.
   */
  expect(names: Iterable<string>): void {
    if (!this.#identities.some((identity) => identity.expectFiles !== undefined)) return;
    for (const name of names) if (!this.#opened.has(name)) this.#expected.add(name);
  }

  /**
   * Finds out size and file key. `sizeBytes` saves a request where it is known. The object has another name than was asked
   * for if a rewrapped one had to stand in.
   * @throws damaged, no-identity-match, failed, and what an identity throws
   */
  async open(name: string, sizeBytes?: number): Promise<OpenedObject> {
    return await remember(this.#opened, name, keptKeys, async () => {
      // Where one object was for others, the rest most likely is: it is not even tried.
      const known = this.#rewrapped?.isKnown ? await this.#rewrapped.locate(name) : undefined;
      if (known !== undefined) {
        try {
          return await this.#openOrRecover(known);
        } catch (error) {
          if (!mayBeRewrapped(error)) throw error;
          return await this.#openOrRecover(name, sizeBytes);
        }
      }
      try {
        return await this.#openOrRecover(name, sizeBytes);
      } catch (error) {
        const other = mayBeRewrapped(error) ? await this.#rewrapped?.locate(name) : undefined;
        if (other === undefined) throw error;
        return await this.#openOrRecover(other);
      }
    });
  }

  async #openOrRecover(name: string, sizeBytes?: number): Promise<OpenedObject> {
    try {
      return await this.#open(name, sizeBytes);
    } catch (error) {
      if (!tellsOfDamage(error) || !(await findNamedByDigest(this.#storage, name, this.#signal))) throw error;
      return await this.#open(name, undefined);
    }
  }

  /** A pack to read from, frame by frame. @throws as `open` */
  async pack(name: string): Promise<RemotePack> {
    return await remember(this.#packs, name, openReaders, async () => {
      const object = await this.open(name);
      const read = (range: ByteRange): Promise<Uint8Array> => this.#read(object.name, range);
      const held = new HeldRanges(object.head);
      const reader = await fetchAsync(held.serve(PackReader.open(object)), read);
      return new RemotePack(reader, held, read);
    });
  }

  /** The blob, if it has this SHA-256. @throws as `open` */
  async readBlob(name: string, offset: number, length: number, digest: Uint8Array): Promise<Uint8Array> {
    const read = async (): Promise<Uint8Array> => {
      const pack = await this.pack(name);
      return await pack.readBlob(offset, length, digest);
    };
    try {
      return await read();
    } catch (error) {
      if (!tellsOfDamage(error)) throw error;
      if (await this.recover(name)) return await read();
      const blob = await this.readElsewhere(name, length, digest);
      if (!blob) throw error;
      return blob;
    }
  }

  /** The blob of a damaged pack, from another one that has it. Undefined if none has. @throws failed */
  async readElsewhere(name: string, length: number, digest: Uint8Array): Promise<Uint8Array | undefined> {
    const role = roleOf(name);
    if (role?.kind !== 'pack') return undefined;
    for (const place of (await this.#healed?.find(role.id, digest)) ?? []) {
      try {
        const pack = await this.pack(packName(place.pack));
        return await pack.readBlob(place.offset, length, digest);
      } catch (error) {
        if (!tellsOfDamage(error)) throw error;
      }
    }
    return undefined;
  }

  /** Turns to the pack that was there before somebody wrote over it or removed it. False if there is none. */
  async recover(name: string): Promise<boolean> {
    const standIn = await this.#opened.get(name)?.then(
      ({ name: actual }) => actual,
      () => undefined,
    );
    const isFound = await findNamedByDigest(this.#storage, standIn ?? name, this.#signal);
    if (isFound) {
      this.#opened.delete(name);
      this.#packs.delete(name);
    }
    return isFound;
  }

  /** The content of a document in memory, such as root.age. @throws as `open` */
  async openDocument(name: string, sealed: Uint8Array, maxBytes: number): Promise<Uint8Array> {
    if (this.#expected.size > 0) await this.#announce();
    this.#heads.delete(name);
    const key = await this.#openHeader(name, sealed, () => Promise.resolve(undefined));
    const object: SealedObject = { name, sizeBytes: sealed.length, ...key };
    const read = fromBytes(sealed);
    return fetchSync(fetchSync(PackReader.open(object), read).readDocument(maxBytes), read);
  }

  async #open(name: string, knownSize: number | undefined): Promise<OpenedObject> {
    if (this.#expected.has(name)) await this.#announce(name);
    const head = this.#heads.get(name) ?? (await this.#read(name, { offset: 0, length: firstReadBytes }));
    this.#heads.delete(name);
    const isWhole = head.length < firstReadBytes;
    const sizeBytes = isWhole ? head.length : (knownSize ?? (await this.#sizeOf(name)));
    const key = await this.#openHeader(name, head, async (from) =>
      isWhole ? undefined : await this.#read(name, { offset: from, length: headerLimits.bytes }),
    );
    // Thousands of these are kept: of a large object not more than is needed to open it.
    const kept = isWhole ? head : head.slice(0, key.headerBytes + payloadNonceBytes);
    return { name, sizeBytes, head: kept, ...key };
  }

  async #openHeader(
    name: string,
    head: Uint8Array,
    more: (from: number) => Promise<Uint8Array | undefined>,
  ): Promise<{ headerBytes: number; fileKey: Uint8Array }> {
    try {
      const parser = new HeaderParser();
      if (!parser.push(head)) {
        const rest = await more(head.length);
        if (!rest || !parser.push(rest)) parser.finish();
      }
      const header = parser.header!;
      const fileKey = await openEnvelope(header, this.#identities);
      if (!fileKey)
        throw new SalvageError(
          'no-identity-match',
          `Cannot open "${name}": none of the ${this.#identities.length} identities fits`,
          {
            hint: 'Name the private key that belongs to one of the recipients of this repository, with -i.',
            details: { object: name },
          },
        );
      return { headerBytes: header.bytes.length, fileKey };
    } catch (error) {
      // What is wrong with an identity is not the object's fault.
      if (error instanceof SalvageError && !error.code.startsWith('age-')) throw error;
      throw namingDamage(name, error);
    }
  }

  /** Hands the headers of the next objects that are expected to the identities, of this one first. */
  async #announce(first?: string): Promise<void> {
    const before = this.#announcing;
    this.#announcing = (async () => {
      await before;
      // Another may have waited for the same.
      if (first !== undefined && !this.#expected.delete(first)) return;
      const others = [...this.#expected].slice(0, announcedTogether - 1);
      const names = first === undefined ? others : [first, ...others];
      for (const one of names) this.#expected.delete(one);
      // What was expected and never came is read again, should it come yet.
      if (this.#heads.size >= announcedTogether) this.#heads.clear();
      const files: (readonly Stanza[])[] = [];
      const next = names.values();
      const work = async (): Promise<void> => {
        for (const one of next) {
          const stanzas = await this.#peek(one);
          if (stanzas) files.push(stanzas);
        }
      };
      await Promise.all(Array.from({ length: headsAtATime }, work));
      for (const identity of this.#identities) identity.expectFiles?.(files);
    })();
    await this.#announcing;
  }

  /** The stanzas of an object's header, if it has one of the usual size. What is wrong with it is told when it is opened. */
  async #peek(name: string): Promise<readonly Stanza[] | undefined> {
    try {
      const head = await this.#storage.read(name, { offset: 0, length: firstReadBytes }, this.#signal);
      if (!head) return undefined;
      const parser = new HeaderParser();
      if (!parser.push(head)) return undefined;
      this.#heads.set(name, head);
      return parser.header!.stanzas;
    } catch {
      this.#signal?.throwIfAborted();
      return undefined;
    }
  }

  async #read(name: string, range: ByteRange): Promise<Uint8Array> {
    const bytes = await this.#storage.read(name, range, this.#signal);
    if (!bytes) throw damagedObject(name, 'it is missing');
    return bytes;
  }

  async #sizeOf(name: string): Promise<number> {
    const stat = await this.#storage.stat(name, this.#signal);
    if (!stat) throw damagedObject(name, 'it is missing');
    return stat.sizeBytes;
  }
}

/** What is known under a key, or is being found out. Failures are not kept, and of the rest the `capacity` newest. */
function remember<T>(
  known: Map<string, Promise<T>>,
  key: string,
  capacity: number,
  find: () => Promise<T>,
): Promise<T> {
  const found = known.get(key) ?? find();
  known.delete(key);
  known.set(key, found);
  if (known.size > capacity) known.delete(known.keys().next().value!);
  found.catch(() => known.delete(key));
  return found;
}
