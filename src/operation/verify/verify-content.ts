import type { Identity } from '../../age/recipient.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { showPath } from '../../posix/target-path.ts';
import type { PackId } from '../../repository/ids.ts';
import { digestInName, packName, packsPrefix, snapshotFileName } from '../../repository/layout.ts';
import { leadsForward } from '../../repository/tree/forward-link.ts';
import type { Storage } from '../../storage/storage.ts';
import { openSnapshot, type LostSegment, type OpenSnapshot } from '../open-snapshot.ts';
import { RewrappedObjects } from '../reading/rewrapped-objects.ts';
import { SealedObjects } from '../reading/sealed-objects.ts';
import type { SignedSnapshot } from '../reading/signed-snapshot.ts';
import { BlobReferences } from './blob-references.ts';
import type { NeededObjects } from './needed-objects.ts';
import type { ObjectReading } from './object-reading.ts';
import { troubleKindOf, type Trouble } from './trouble.ts';

export interface VerifyContentOptions {
  readonly storage: Storage;
  readonly identities: readonly Identity[];
  readonly needed: NeededObjects;
  /** Names of the packs and index objects that are to be read. */
  readonly toRead: ReadonlySet<string>;
  readonly reading: ObjectReading;
  readonly find: (trouble: Trouble) => void;
  readonly signal?: AbortSignal | undefined;
}

/** References are gathered up to this size, then their packs are opened. */
const mostReferenceBytes = 24 * 1024 * 1024;

/**
 * Looks, with an identity, at every tree segment, every entry and every range of the snapshots, and at every frame of the
 * packs. Packs are opened as references to them have come together.
 */
export async function verifyContent(
  signed: readonly SignedSnapshot[],
  options: VerifyContentOptions,
): Promise<void> {
  await new ContentVerification(options).run(signed);
}

class ContentVerification {
  readonly #options: VerifyContentOptions;
  readonly #objects: SealedObjects;
  readonly #references = new BlobReferences();
  /** Objects whose own SHA-256 was compared. */
  readonly #hashed = new Set<string>();
  readonly #seenSegments = new Set<string>();

  constructor(options: VerifyContentOptions) {
    this.#options = options;
    const { storage, identities, needed, signal } = options;
    const rewrapped = RewrappedObjects.known(storage, needed.rewrapped);
    this.#objects = new SealedObjects(storage, identities, signal, rewrapped);
  }

  async run(signed: readonly SignedSnapshot[]): Promise<void> {
    const { needed, toRead, reading } = this.#options;
    this.#objects.expect([...signed.map(({ id }) => snapshotFileName(id, 'root.age')), ...toRead]);
    for (const snapshot of signed) await this.#readTree(snapshot);
    await this.#openReferred();
    const standIns = new Set([...needed.rewrapped].flat());
    for (const name of toRead) {
      const id = digestInName(name);
      if (this.#hashed.has(name) || needed.isBad(name) || !id) continue;
      // Listed and not referred to: packs that hold nothing for these snapshots, index objects, and of two that have the
      // same content the one that was not opened.
      if (name.startsWith(packsPrefix) && !standIns.has(id)) await this.#open(id, new Uint8Array(0));
      else await reading.hash(name, id);
    }
  }

  async #openReferred(): Promise<void> {
    for (const [pack, blobs] of this.#references.take()) await this.#open(pack, blobs);
  }

  async #open(pack: PackId, blobs: Uint8Array<ArrayBuffer>): Promise<void> {
    const { needed, toRead, reading, find } = this.#options;
    const name = needed.nameInUse(packName(pack));
    if (!toRead.has(name) || needed.isBad(name)) return;
    try {
      const opened = await this.#objects.open(packName(pack), needed.storedSize(packName(pack)));
      const { name: actual, sizeBytes, headerBytes, fileKey } = opened;
      const object = { name: actual, sizeBytes, headerBytes, fileKey };
      const whole = !this.#hashed.has(actual);
      this.#hashed.add(actual);
      await reading.open({ kind: 'open', object, digest: digestInName(actual) ?? pack, blobs, whole });
    } catch (error) {
      if (!(error instanceof SalvageError)) throw error;
      if (error.code === 'failed') return find({ kind: 'unreadable', object: name, message: error.message });
      if (!['damaged', 'no-identity-match'].includes(error.code)) throw error;
      // What its own SHA-256 tells is plainer than what the header looks like.
      this.#hashed.add(name);
      const { done } = await reading.hash(name, digestInName(name) ?? pack);
      await done;
      if (!needed.isBad(name)) find({ kind: 'damaged-content', object: name, message: error.message });
    }
  }

  async #readTree(signed: SignedSnapshot): Promise<void> {
    const { storage, needed, find, signal } = this.#options;
    const root = snapshotFileName(signed.id, 'root.age');
    if (needed.isBad(root)) return;
    try {
      const snapshot = await openSnapshot(storage, signed, this.#objects, signal);
      await this.#readSegments(snapshot);
      for (let number = 0; number < snapshot.packs.size; number++) {
        const pack = snapshot.packs.idOf(number);
        if (pack && !snapshot.lists(pack))
          find({
            kind: 'damaged-content',
            object: packName(pack),
            snapshot: signed.id,
            message: `The tree of snapshot ${signed.id} refers to "${packName(pack)}", which its signed list does not have.`,
          });
      }
    } catch (error) {
      if (
        !(error instanceof SalvageError) ||
        ['interrupted', 'no-identity-match', 'bad-key'].includes(error.code)
      )
        throw error;
      const kind = troubleKindOf(error, 'damaged-content');
      find({ kind, snapshot: signed.id, object: root, message: error.message });
    }
  }

  async #readSegments(snapshot: OpenSnapshot): Promise<void> {
    const { needed, find, signal } = this.#options;
    const { id } = snapshot.signed;
    const onLost = ({ segment, error }: LostSegment): void => {
      const name = packName(segment.pack);
      if (!(error instanceof SalvageError) || error.code === 'interrupted') throw error;
      if (needed.isBad(name)) return;
      const kind = troubleKindOf(error, 'damaged-content');
      find({ kind, object: name, snapshot: id, message: error.message });
    };
    for await (const { segment, records } of snapshot.readTree({ onLost, ...(signal && { signal }) })) {
      const key = `${segment.pack}:${segment.offset}`;
      if (this.#seenSegments.has(key)) continue;
      this.#seenSegments.add(key);
      this.#references.add(segment.pack, segment.offset, segment.length, segment.digest);
      for (const { entry, ranges } of records) {
        this.#references.addRanges(ranges, snapshot.packs);
        if (entry && leadsForward(entry))
          find({
            kind: 'damaged-content',
            object: packName(segment.pack),
            snapshot: id,
            message: `The hard link "${showPath(entry.path)}" in "${packName(segment.pack)}" leads to what would come after it.`,
          });
      }
      if (this.#references.bytes > mostReferenceBytes) await this.#openReferred();
    }
  }
}
