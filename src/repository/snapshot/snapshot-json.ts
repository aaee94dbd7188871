import { createHmac } from 'node:crypto';
import * as v from 'valibot';
import { toHex } from '../../bytes/bytes.ts';
import { damagedObject } from '../damage.ts';
import { sequenceOf, type ObjectDigest, type RepositoryId, type SnapshotId } from '../ids.ts';
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

/** snapshots/<id>/snapshot.json: what anyone may know of a snapshot (docs/design/format.md "snapshot.json"). */
export interface SnapshotJson {
  readonly format: 'salvage-snapshot';
  readonly version: 1;
  readonly repository: RepositoryId;
  readonly id: SnapshotId;
  /** From 1, counted up by one; also in the id. */
  readonly sequence: number;
  /** When the run began, by the host's clock. RFC 3339, UTC. */
  readonly time: string;
  /** SHA-256 of the previous snapshot's SHA256SUMS; null for the first. */
  readonly previous: ObjectDigest | null;
  /** Objects of the file system in the snapshot. */
  readonly entries: number;
  /** Their content in bytes. */
  readonly sizeBytes: number;
  /** Packs that it refers to. */
  readonly packs: number;
  /** Bytes of packs and index objects that its run stored. */
  readonly storedBytes: number;
  /** Snapshots of one group are kept and forgotten together by policy; see `snapshotGroup`. */
  readonly group: string;
  /** Made public by the user's choice. */
  readonly labels: Readonly<Record<string, string>>;
}

const shortText = v.pipe(v.string(), v.maxLength(256));
const schema: v.GenericSchema<unknown, SnapshotJson> = v.strictObject({
  format: v.literal('salvage-snapshot'),
  version: v.literal(1),
  repository: repositoryIdSchema,
  id: snapshotIdSchema,
  sequence: countSchema,
  time: timeSchema,
  previous: v.nullable(objectDigestSchema),
  entries: countSchema,
  sizeBytes: countSchema,
  packs: countSchema,
  storedBytes: countSchema,
  group: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/)),
  labels: v.record(shortText, shortText),
});

export function encodeSnapshotJson(snapshot: SnapshotJson): Uint8Array<ArrayBuffer> {
  return encodeJson(snapshot);
}

/** The snapshot.json stored for `id`. @throws damaged, also if it is that of another snapshot */
export function decodeSnapshotJson(bytes: Uint8Array, id: SnapshotId): SnapshotJson {
  const name = snapshotFileName(id, 'snapshot.json');
  const snapshot = decodeJson(schema, bytes, limits.snapshotJson, name);
  if (snapshot.id !== id || snapshot.sequence !== sequenceOf(id))
    throw damagedObject(name, `it is of snapshot ${snapshot.id}, sequence ${snapshot.sequence}`);
  return snapshot;
}

/**
 * The opaque name of a set of paths, or of a job: 32 digits of HMAC-SHA-256 under the chunker seed, so that nobody without
 * the seed can try paths.
 */
export function snapshotGroup(
  chunkerSeed: Uint8Array,
  what: { readonly job: string } | { readonly paths: readonly string[] },
): string {
  const hmac = createHmac('sha256', chunkerSeed).update('salvage-group-v1\0');
  if ('job' in what) hmac.update(`job\0${what.job}`);
  else hmac.update(`paths\0${[...new Set(what.paths)].sort().join('\0')}`);
  return toHex(hmac.digest()).slice(0, 32);
}
