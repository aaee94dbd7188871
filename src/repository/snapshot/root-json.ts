import * as v from 'valibot';
import { damagedObject } from '../damage.ts';
import type { PackId, RepositoryId, SnapshotId } from '../ids.ts';
import {
  countSchema,
  decodeJson,
  encodeJson,
  objectDigestSchema,
  repositoryIdSchema,
  snapshotIdSchema,
  timeSchema,
} from '../json-document.ts';
import { snapshotFileName } from '../layout.ts';
import { limits } from '../limits.ts';
import { compareTreePaths, isTreePath } from '../tree/tree-path.ts';

/** Where a tree segment is. */
export interface SegmentReference {
  readonly pack: PackId;
  readonly offset: number;
  readonly length: number;
  /** SHA-256 of the segment. */
  readonly digest: Uint8Array;
  /** Path of its first line, by which one path is found without reading the whole tree. */
  readonly first: Buffer;
}

/** The private half of a snapshot: content of root.age (docs/design/format.md "root.age"). */
export interface SnapshotRoot {
  readonly repository: RepositoryId;
  readonly snapshot: SnapshotId;
  readonly host: string;
  /** As the user named them, absolute; or names of streams. */
  readonly paths: readonly string[];
  readonly tags: readonly string[];
  /** RFC 3339, UTC, by the host's clock. */
  readonly started: string;
  readonly finished: string;
  /** Counts and sizes by name, for people. */
  readonly statistics: Readonly<Record<string, number>>;
  /** The identity that opens index objects: a secret of the host that restorers may know. */
  readonly indexKey: string;
  /** 32 bytes. */
  readonly chunkerSeed: Uint8Array;
  /** In tree order. */
  readonly segments: readonly SegmentReference[];
}

const text = v.pipe(v.string(), v.maxLength(65_536));
const segmentSchema = v.strictTuple([
  countSchema,
  v.pipe(countSchema, v.maxValue(limits.rawStream)),
  v.pipe(countSchema, v.minValue(1), v.maxValue(limits.segment)),
  v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/)),
  v.pipe(v.string(), v.base64()),
]);
const schema = v.strictObject({
  format: v.literal('salvage-root'),
  version: v.literal(1),
  repository: repositoryIdSchema,
  snapshot: snapshotIdSchema,
  host: text,
  paths: v.array(text),
  tags: v.array(text),
  started: timeSchema,
  finished: timeSchema,
  statistics: v.record(v.string(), countSchema),
  indexKey: v.pipe(v.string(), v.regex(/^AGE-SECRET-KEY-[A-Z0-9-]+$/)),
  chunkerSeed: v.pipe(v.string(), v.regex(/^[A-Za-z0-9+/]{43}=$/)),
  packs: v.array(objectDigestSchema),
  segments: v.array(segmentSchema),
});

export function encodeSnapshotRoot(root: SnapshotRoot): Uint8Array<ArrayBuffer> {
  const packs = [...new Set(root.segments.map(({ pack }) => pack))];
  const numbers = new Map(packs.map((pack, number) => [pack, number]));
  const { repository, snapshot, host, paths, tags, started, finished, statistics, indexKey } = root;
  return encodeJson(
    {
      format: 'salvage-root',
      version: 1,
      repository,
      snapshot,
      host,
      paths,
      tags,
      started,
      finished,
      statistics,
      indexKey,
      chunkerSeed: Buffer.from(root.chunkerSeed).toString('base64'),
      packs,
      segments: root.segments.map(({ pack, offset, length, digest, first }) => [
        numbers.get(pack),
        offset,
        length,
        Buffer.from(digest).toString('base64url'),
        first.toString('base64'),
      ]),
    },
    'compact',
  );
}

/**
 * The content of root.age of snapshot `id`. Where no repository is expected, the signed list vouches for the one it names.
 * @throws damaged, also if it is that of another snapshot or repository
 */
export function decodeSnapshotRoot(
  bytes: Uint8Array,
  repository: RepositoryId | undefined,
  id: SnapshotId,
): SnapshotRoot {
  const name = snapshotFileName(id, 'root.age');
  const {
    format: _,
    version: __,
    packs,
    segments,
    chunkerSeed,
    ...rest
  } = decodeJson(schema, bytes, limits.rootJson, name);
  if (rest.snapshot !== id || rest.repository !== (repository ?? rest.repository))
    throw damagedObject(name, `it is of snapshot ${rest.snapshot} in repository ${rest.repository}`);
  let previous: Buffer | undefined;
  return {
    ...rest,
    chunkerSeed: Buffer.from(chunkerSeed, 'base64'),
    segments: segments.map(([number, offset, length, digest, firstText], index) => {
      const pack = packs[number];
      const first = Buffer.from(firstText, 'base64');
      if (pack === undefined || !isTreePath(first) || (previous && compareTreePaths(previous, first) > 0))
        throw damagedObject(name, `its tree segment ${index} is out of place`);
      previous = first;
      return { pack, offset, length, digest: Buffer.from(digest, 'base64url'), first };
    }),
  };
}

/** The segments, as indexes [start, end), in which the lines of `path` and of what is below it are. */
export function segmentsOf(
  segments: readonly SegmentReference[],
  path: Buffer,
): [start: number, end: number] {
  let start = 0;
  // The last segment that begins before the path: one that begins with it may go on with a file that began before.
  while (start + 1 < segments.length && compareTreePaths(segments[start + 1]!.first, path) < 0) start++;
  let end = start;
  // '0' is what comes after '/', so this is the end of everything below the path.
  while (end < segments.length && !isPast(segments[end]!.first, path)) end++;
  return [start, Math.max(end, Math.min(start + 1, segments.length))];
}

function isPast(first: Buffer, path: Buffer): boolean {
  const isWithin =
    first.length > path.length && first[path.length] === 0x2f && first.subarray(0, path.length).equals(path);
  return !isWithin && compareTreePaths(first, path) > 0;
}
