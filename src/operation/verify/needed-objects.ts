import type { ObjectDigest, SnapshotId } from '../../repository/ids.ts';
import { indexName, packName } from '../../repository/layout.ts';
import type { Storage } from '../../storage/storage.ts';
import { findByDigest } from '../reading/find-original.ts';
import type { RewrapMap } from '../reading/rewrapped-objects.ts';
import type { SignedSnapshot } from '../reading/signed-snapshot.ts';
import type { RepositoryListing } from './repository-listing.ts';
import type { Trouble } from './trouble.ts';

/** The packs and index objects that good snapshots need: whether they are there, and what is wrong with them. */
export class NeededObjects {
  readonly #storage: Storage;
  readonly #stored: RepositoryListing['objects'];
  readonly #find: (trouble: Trouble) => void;
  readonly #signal: AbortSignal | undefined;
  readonly #digests = new Map<string, ObjectDigest>();
  readonly #replaced = new Map<string, string>();
  readonly #bad = new Set<string>();
  /** What stands for objects since a restorer has rewrapped them, by the digest in the signed lists. */
  readonly rewrapped: RewrapMap;

  constructor(
    storage: Storage,
    { objects }: RepositoryListing,
    rewrapped: RewrapMap,
    find: (trouble: Trouble) => void,
    signal?: AbortSignal,
  ) {
    this.#storage = storage;
    this.#stored = objects;
    this.rewrapped = rewrapped;
    this.#find = find;
    this.#signal = signal;
  }

  get size(): number {
    return this.#digests.size;
  }

  /** By name, with the SHA-256 that each must have. */
  get digests(): ReadonlyMap<string, ObjectDigest> {
    return this.#digests;
  }

  /** How many are there that no snapshot lists. */
  get unlisted(): number {
    let count = 0;
    for (const name of this.#stored.keys()) if (!this.#digests.has(name)) count++;
    return count;
  }

  /** As storage lists it. */
  storedSize(name: string): number | undefined {
    return this.#stored.get(name);
  }

  /** The name of what stands for an object that is gone since it was rewrapped, or its own. */
  nameInUse(name: string): string {
    return this.#replaced.get(name) ?? name;
  }

  /** The needed object that has this content, if there is one. */
  nameOf(digest: ObjectDigest): string | undefined {
    return [packName(digest), indexName(digest)].find((name) => this.#digests.has(name));
  }

  /** Something is wrong with the object, and it is not to be looked at again. */
  isBad(name: string): boolean {
    return this.#bad.has(name);
  }

  markBad(name: string): void {
    this.#bad.add(name);
  }

  /** Adds all that a snapshot lists. What is not there is found. */
  async addSnapshot({ id, checksums }: SignedSnapshot): Promise<void> {
    for (const pack of checksums.packs) await this.#add(packName(pack), pack, id, packName);
    for (const index of checksums.indexes) await this.#add(indexName(index), index, id, indexName);
    const root = this.rewrapped.get(checksums.root);
    if (root !== undefined) await this.#add(packName(root), root, id, packName);
  }

  /** The object must be there; if it was rewrapped, what stands for it must be, and it itself may be gone. */
  async #add(
    name: string,
    digest: ObjectDigest,
    snapshot: SnapshotId,
    nameOf: (digest: ObjectDigest) => string,
  ): Promise<void> {
    if (this.#digests.has(name) || this.#replaced.has(name)) return;
    // Before anything is followed: what stands for what may go in a circle.
    this.#digests.set(name, digest);
    const size = this.#stored.get(name);
    const other = this.rewrapped.get(digest);
    if (other !== undefined && other !== digest) {
      const isReplaced = size === undefined && this.#stored.has(nameOf(other));
      if (isReplaced) {
        this.#digests.delete(name);
        this.#replaced.set(name, nameOf(other));
      }
      await this.#add(nameOf(other), other, snapshot, nameOf);
      if (isReplaced) return;
    }
    if (size !== undefined && size > 0) return;
    if (await findByDigest(this.#storage, name, digest, this.#signal)) return;
    this.#bad.add(name);
    const [kind, state] =
      size === 0 ? (['truncated-object', 'empty'] as const) : (['missing-object', 'missing'] as const);
    const message = `"${name}" is ${state}. Snapshot ${snapshot} needs it.`;
    this.#find({ kind, object: name, snapshot, message });
  }
}
