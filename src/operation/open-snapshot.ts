import type { ObjectDigest, PackId } from '../repository/ids.ts';
import { packName, snapshotFileName } from '../repository/layout.ts';
import { damagedObject } from '../repository/damage.ts';
import { limits } from '../repository/limits.ts';
import { PackTable } from '../repository/pack/pack-table.ts';
import {
  decodeSnapshotRoot,
  segmentsOf,
  type SegmentReference,
  type SnapshotRoot,
} from '../repository/snapshot/root-json.ts';
import { TreeDecoder, type TreeRecord } from '../repository/tree/tree-decoder.ts';
import { compareTreePaths, isBelow } from '../repository/tree/tree-path.ts';
import type { Storage } from '../storage/storage.ts';
import { readDigested } from './reading/read-object.ts';
import { mayBeRewrapped } from './reading/rewrapped-objects.ts';
import type { SealedObjects } from './reading/sealed-objects.ts';
import type { SignedSnapshot } from './reading/signed-snapshot.ts';

/** Lines of one tree segment, or of the part of it that was asked for. */
export interface TreePart {
  readonly segment: SegmentReference;
  readonly records: readonly TreeRecord[];
}

/** What went wrong with one segment; reading goes on behind it. */
export interface LostSegment {
  readonly segment: SegmentReference;
  /** The paths that are lost lie from here … */
  readonly first: Buffer;
  /** … to before here; undefined for the end of the tree. */
  readonly next: Buffer | undefined;
  readonly error: unknown;
}

export interface TreeReading {
  /** Only this path and what is below it. */
  readonly path?: Buffer;
  /** Called for a segment that cannot be read; without it the reading throws. */
  readonly onLost?: (lost: LostSegment) => void;
  readonly signal?: AbortSignal;
}

/** A snapshot whose private half is open. Packs are numbered by `packs`, all of them listed in its signed list. */
export class OpenSnapshot {
  readonly signed: SignedSnapshot;
  readonly root: SnapshotRoot;
  readonly packs: PackTable = new PackTable();
  readonly #objects: SealedObjects;
  readonly #listed: ReadonlySet<PackId>;

  constructor(signed: SignedSnapshot, root: SnapshotRoot, objects: SealedObjects) {
    this.signed = signed;
    this.root = root;
    this.#objects = objects;
    this.#listed = new Set(signed.checksums.packs);
  }

  /** True if the signed list has the pack. A reference to any other is not to be followed. */
  lists(pack: PackId): boolean {
    return this.#listed.has(pack);
  }

  /** The tree in its order, segment by segment; holds one. @throws damaged, no-identity-match, failed */
  async *readTree({ path, onLost, signal }: TreeReading = {}): AsyncGenerator<TreePart> {
    const { segments } = this.root;
    const [start, end] = path ? segmentsOf(segments, path) : [0, segments.length];
    this.#objects.expect(segments.slice(start, end).map(({ pack }) => packName(pack)));
    let decoder = new TreeDecoder(this.packs, { midTree: start > 0 });
    for (let index = start; index < end; index++) {
      signal?.throwIfAborted();
      const segment = segments[index]!;
      let records: readonly TreeRecord[];
      try {
        records = decoder.decode(await this.readSegment(segment), packName(segment.pack));
      } catch (error) {
        if (!onLost) throw error;
        onLost({ segment, first: segment.first, next: segments[index + 1]?.first, error });
        decoder = new TreeDecoder(this.packs, { midTree: true });
        continue;
      }
      if (path) records = records.filter((record) => isAtOrBelow(record.path, path));
      if (records.length > 0) yield { segment, records };
    }
    if (end < segments.length || end === start) return;
    const last = segments[end - 1]!;
    try {
      decoder.finish(packName(last.pack));
    } catch (error) {
      if (!onLost) throw error;
      onLost({ segment: last, first: last.first, next: undefined, error });
    }
  }

  /** One segment's bytes, whose SHA-256 is right. @throws damaged, no-identity-match, failed */
  async readSegment(segment: SegmentReference): Promise<Uint8Array> {
    const { pack, offset, length, digest } = segment;
    const name = packName(pack);
    if (!this.lists(pack))
      throw damagedObject(name, 'the tree refers to it and the signed list does not have it');
    return await this.#objects.readBlob(name, offset, length, digest);
  }

  /** The entry at a path with all lines of its content, or undefined. @throws as `readTree` */
  async find(path: Buffer, signal?: AbortSignal): Promise<readonly TreeRecord[] | undefined> {
    const found: TreeRecord[] = [];
    for await (const { records } of this.readTree({ path, ...(signal && { signal }) })) {
      for (const record of records) {
        if (compareTreePaths(record.path, path) !== 0) return found;
        found.push(record);
      }
    }
    return found[0]?.entry ? found : undefined;
  }
}

function isAtOrBelow(path: Buffer, top: Buffer): boolean {
  return path.equals(top) || isBelow(path, top);
}

/** Opens the private half of a snapshot. @throws damaged, no-identity-match, failed */
export async function openSnapshot(
  storage: Storage,
  signed: SignedSnapshot,
  objects: SealedObjects,
  signal?: AbortSignal,
): Promise<OpenSnapshot> {
  const document = await readRoot(storage, signed, objects, signal);
  return new OpenSnapshot(signed, decodeSnapshotRoot(document, undefined, signed.id), objects);
}

async function readRoot(
  storage: Storage,
  { id, checksums }: SignedSnapshot,
  objects: SealedObjects,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const read = async (name: string, digest: ObjectDigest): Promise<Uint8Array> => {
    const sealed = await readDigested(storage, name, limits.storedObject, digest, signal);
    return await objects.openDocument(name, sealed, limits.rootJson);
  };
  try {
    return await read(snapshotFileName(id, 'root.age'), checksums.root);
  } catch (error) {
    // Nothing but the record says that the other one has the same content: it was signed, like the snapshot itself.
    const other = mayBeRewrapped(error) ? await objects.rewrapped?.locateDigest(checksums.root) : undefined;
    if (other === undefined) throw error;
    return await read(packName(other), other);
  }
}
