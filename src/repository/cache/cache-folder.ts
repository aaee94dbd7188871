import * as v from 'valibot';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { toHex } from '../../bytes/bytes.ts';
import { randomBytes } from '../../clock/random.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { ObjectDigest, PackId, RepositoryId, SnapshotId } from '../ids.ts';
import {
  decodeJson,
  encodeJson,
  objectDigestSchema,
  repositoryIdSchema,
  snapshotIdSchema,
} from '../json-document.ts';
import { PackTable } from '../pack/pack-table.ts';
import { BlobLevel, mergeLevels } from './blob-level.ts';

/** What a host remembers of a repository. All of it is disposable; all numbers of packs are those of `packs`. */
export interface CacheState {
  /** The last snapshot of this host, and SHA-256 of its SHA256SUMS. */
  readonly snapshot: SnapshotId;
  readonly checksums: ObjectDigest;
  readonly packs: PackTable;
  /** Path of the listing of that snapshot; undefined after a rebuild from the index. */
  readonly listing: string | undefined;
  /** Paths of the blob table's levels, newest first. */
  readonly levels: readonly string[];
}

const currentName = 'current.json';
const maxCurrentBytes = 64 * 1024;
const idBytes = 32;
const fileName = v.pipe(v.string(), v.regex(/^(?:listing|packs|blobs)-[0-9a-f]{32}$/));
const schema = v.strictObject({
  format: v.literal('salvage-cache'),
  version: v.literal(2),
  repository: repositoryIdSchema,
  snapshot: snapshotIdSchema,
  checksums: objectDigestSchema,
  packs: fileName,
  listing: v.nullable(fileName),
  levels: v.array(fileName),
  /** CRC-32 of the document without it: a digit that flips in `checksums` would fork the chain of snapshots. */
  crc: v.number(),
});

/**
 * A host's cache of one repository: files that are never changed, and `current.json`, replaced at once, which names those
 * that belong together. Whatever is damaged, missing or of another repository is as if it were not there. Calls are
 * synchronous; that one run at a time uses the folder is for the caller to see to.
 */
export class CacheFolder {
  readonly #path: string;
  readonly #repository: RepositoryId;

  constructor(path: string, repository: RepositoryId) {
    this.#path = path;
    this.#repository = repository;
  }

  /** What the last `commit` left, or undefined if there is nothing to be believed. */
  load(): CacheState | undefined {
    try {
      const { crc, ...current } = decodeJson(
        schema,
        readFileSync(join(this.#path, currentName)),
        maxCurrentBytes,
        currentName,
      );
      if (crc32(encodeJson(current)) !== crc) return undefined;
      const packs = decodePacks(readFileSync(join(this.#path, current.packs)));
      if (current.repository !== this.#repository || !packs) return undefined;
      const paths = [...current.levels, ...(current.listing === null ? [] : [current.listing])];
      for (const path of paths) statSync(join(this.#path, path));
      return {
        snapshot: current.snapshot,
        checksums: current.checksums,
        packs,
        listing: current.listing === null ? undefined : join(this.#path, current.listing),
        levels: current.levels.map((level) => join(this.#path, level)),
      };
    } catch (error) {
      if (error instanceof SalvageError || (error as NodeJS.ErrnoException).code === 'ENOENT')
        return undefined;
      throw error;
    }
  }

  /** A path in the folder for a file that is to be handed to `commit`. */
  newFile(kind: 'listing' | 'blobs'): string {
    mkdirSync(this.#path, { recursive: true, mode: 0o700 });
    return join(this.#path, `${kind}-${toHex(randomBytes(16))}`);
  }

  /** An empty folder for what a run spills; emptied anew each time it is asked for. */
  spillFolder(): string {
    const path = join(this.#path, 'spill');
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return path;
  }

  /**
   * Makes `state` the current one. Levels of about the same size are merged into one, so that there are few, and each
   * record is written again only some ten times in the life of a cache; on the way those of packs that have no name any
   * more are dropped. Files that are no longer named are removed.
   */
  commit(state: CacheState): void {
    const packsName = `packs-${toHex(randomBytes(16))}`;
    mkdirSync(this.#path, { recursive: true, mode: 0o700 });
    writeFileSync(join(this.#path, packsName), encodePacks(state.packs), { flag: 'wx', mode: 0o600 });
    const levels = this.#compactLevels(state.levels, state.packs);
    const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
    const current = {
      format: 'salvage-cache',
      version: 2,
      repository: this.#repository,
      snapshot: state.snapshot,
      checksums: state.checksums,
      packs: packsName,
      listing: state.listing === undefined ? null : nameOf(state.listing),
      levels: levels.map(nameOf),
    };
    const draft = join(this.#path, `${currentName}.new`);
    writeFileSync(draft, encodeJson({ ...current, crc: crc32(encodeJson(current)) }), { mode: 0o600 });
    renameSync(draft, join(this.#path, currentName));
    const kept = new Set<string>([
      currentName,
      packsName,
      ...levels.map(nameOf),
      ...(current.listing === null ? [] : [current.listing]),
    ]);
    for (const name of readdirSync(this.#path))
      if (!kept.has(name)) rmSync(join(this.#path, name), { recursive: true, force: true });
  }

  /** Forgets everything. */
  clear(): void {
    rmSync(this.#path, { recursive: true, force: true });
  }

  #compactLevels(paths: readonly string[], packs: PackTable): string[] {
    const levels: { path: string; level: BlobLevel }[] = [];
    for (const path of paths) {
      const level = BlobLevel.open(path, statSync(path).size);
      if (level) levels.push({ path, level });
    }
    try {
      // Newest first. A level joins those after it as long as together they are not small against it.
      let merged = 0;
      let records = 0;
      for (const [index, { level }] of levels.entries()) {
        if (index > 0 && records * 2 >= level.count) merged = index + 1;
        records += level.count;
      }
      const isSpill = levels.some(
        ({ path }, index) => index >= merged && !path.startsWith(join(this.#path, 'blobs-')),
      );
      if (isSpill) merged = levels.length;
      if (merged < 2 && !isSpill) return levels.map(({ path }) => path);
      const path = this.newFile('blobs');
      const young = levels.slice(0, merged).map(({ level }) => level);
      mergeLevels(path, young, ({ pack }) => packs.idOf(pack) !== undefined);
      return [path, ...levels.slice(merged).map(({ path }) => path)];
    } finally {
      for (const { level } of levels) level.close();
    }
  }
}

function encodePacks(packs: PackTable): Buffer {
  const bytes = Buffer.alloc(packs.size * idBytes + 4);
  for (let number = 0; number < packs.size; number++) {
    const id = packs.idOf(number);
    if (id !== undefined) bytes.write(id, number * idBytes, 'hex');
  }
  bytes.writeUInt32LE(crc32(bytes.subarray(0, -4)), bytes.length - 4);
  return bytes;
}

function decodePacks(bytes: Buffer): PackTable | undefined {
  if (bytes.length % idBytes !== 4 || bytes.readUInt32LE(bytes.length - 4) !== crc32(bytes.subarray(0, -4)))
    return undefined;
  const packs = new PackTable();
  const none = Buffer.alloc(idBytes);
  for (let at = 0; at < bytes.length - 4; at += idBytes) {
    const id = bytes.subarray(at, at + idBytes);
    const number = packs.reserve();
    if (!id.equals(none)) packs.name(number, id.toString('hex') as PackId);
  }
  return packs;
}
