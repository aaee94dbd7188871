import * as v from 'valibot';
import { damagedObject } from './damage.ts';
import {
  sequenceOf,
  timeStamp,
  type IndexId,
  type ObjectDigest,
  type PackId,
  type RepositoryId,
  type SnapshotId,
} from './ids.ts';
import {
  countSchema,
  decodeJson,
  encodeJson,
  objectDigestSchema,
  repositoryIdSchema,
  snapshotIdSchema,
  timeSchema,
} from './json-document.ts';
import { keeperFileName, type KeeperRecordId } from './layout.ts';
import { limits } from './limits.ts';

/** A snapshot that `forget` removed, with what the chain needs to know of it. */
export interface ForgottenSnapshot {
  readonly id: SnapshotId;
  /** SHA-256 of its SHA256SUMS: what the snapshot after it names as `previous`. */
  readonly checksums: ObjectDigest;
  readonly previous: ObjectDigest | null;
}

/** Objects that no SHA256SUMS lists, and snapshots that were never committed. */
export interface Unreferenced {
  readonly packs: readonly PackId[];
  readonly indexes: readonly IndexId[];
  readonly unfinished: readonly SnapshotId[];
}

/** What a keeper did, or is about to do (docs/design/format.md "Keeper records"). */
export type KeeperAct =
  /** Removes these snapshots. */
  | { readonly action: 'forget'; readonly snapshots: readonly ForgottenSnapshot[] }
  /** Candidates: a later run removes them if they are unreferenced then. */
  | ({ readonly action: 'mark' } & Unreferenced)
  /** Removes these of the candidates that the record `mark` named. */
  | ({ readonly action: 'sweep'; readonly mark: number } & Unreferenced)
  /** A restorer has stored these objects once more, for other recipients. */
  | {
      readonly action: 'rewrapped';
      /** Stands for the recipients that they are for now, and tells nothing of them: see `recipientsId`. */
      readonly recipients: string;
      readonly objects: readonly RewrappedObject[];
    };

/**
 * The digest that SHA256SUMS of some snapshot has for a pack, an index object or a root.age; and that of an object with the
 * same payload under another header. An index object then lies in index/, everything else in packs/.
 */
export type RewrappedObject = readonly [from: ObjectDigest, to: ObjectDigest];

/** keeper/<n>-<time>.json */
export type KeeperRecord = {
  readonly format: 'salvage-keeper';
  readonly version: 1;
  readonly repository: RepositoryId;
  /** From 1, counted up by one; also in the name. */
  readonly number: number;
  /** By the keeper's clock. RFC 3339, UTC. */
  readonly time: string;
  /** SHA-256 of the record before; null for the first. */
  readonly previous: ObjectDigest | null;
  /** Numbers of the records, this one perhaps among them, whose packs no new snapshot may refer to. Ascending. */
  readonly open: readonly number[];
} & KeeperAct;

/** So many objects may stand in one record: what is more waits for the next. */
export const mostObjectsInRecord = 250_000;
/** A pair of digests takes more room than one. */
const mostRewrappedInRecord = 200_000;
/** Of each kind of list that is short: open records, snapshots. */
const mostListed = 65_536;

const numberSchema = v.pipe(countSchema, v.minValue(1), v.maxValue(99_999_999));
const common = {
  format: v.literal('salvage-keeper'),
  version: v.literal(1),
  repository: repositoryIdSchema,
  number: numberSchema,
  time: timeSchema,
  previous: v.nullable(objectDigestSchema),
  open: v.pipe(v.array(numberSchema), v.maxLength(mostListed)),
};
const unreferenced = {
  packs: v.pipe(v.array(objectDigestSchema), v.maxLength(mostObjectsInRecord)),
  indexes: v.pipe(v.array(objectDigestSchema), v.maxLength(mostObjectsInRecord)),
  unfinished: v.pipe(v.array(snapshotIdSchema), v.maxLength(mostListed)),
};
const forgottenSchema = v.strictObject({
  id: snapshotIdSchema,
  checksums: objectDigestSchema,
  previous: v.nullable(objectDigestSchema),
});
const schema: v.GenericSchema<unknown, KeeperRecord> = v.variant('action', [
  v.strictObject({
    ...common,
    action: v.literal('forget'),
    snapshots: v.pipe(v.array(forgottenSchema), v.maxLength(mostListed)),
  }),
  v.strictObject({ ...common, action: v.literal('mark'), ...unreferenced }),
  v.strictObject({ ...common, action: v.literal('sweep'), mark: numberSchema, ...unreferenced }),
  v.strictObject({
    ...common,
    action: v.literal('rewrapped'),
    recipients: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/)),
    objects: v.pipe(
      v.array(v.strictTuple([objectDigestSchema, objectDigestSchema])),
      v.maxLength(mostRewrappedInRecord),
    ),
  }),
]);

export function encodeKeeperRecord(record: KeeperRecord): Uint8Array<ArrayBuffer> {
  return encodeJson(record);
}

/** The record stored under this name. Says nothing of who wrote it: its signature does. @throws damaged */
export function decodeKeeperRecord(bytes: Uint8Array, id: KeeperRecordId): KeeperRecord {
  const name = keeperFileName(id, 'json');
  const record = decodeJson(schema, bytes, limits.keeperRecord, name);
  if (record.number !== id.number || timeStamp(new Date(record.time)) !== id.stamp)
    throw damagedObject(name, `it is record ${record.number} of ${record.time}`);
  if (record.open.some((number, index) => number > record.number || number <= (record.open[index - 1] ?? 0)))
    throw damagedObject(name, '"open" does not name records before it, in order');
  if (record.action === 'sweep' && record.mark >= record.number)
    throw damagedObject(name, 'it carries out a record that comes after it');
  if (record.number === 1 ? record.previous !== null : record.previous === null)
    throw damagedObject(name, '"previous" does not fit its number');
  if (record.action === 'forget' && record.snapshots.some(isOddlyPlaced))
    throw damagedObject(name, 'it forgets a snapshot whose "previous" does not fit its sequence');
  return record;
}

function isOddlyPlaced({ id, previous }: ForgottenSnapshot): boolean {
  return sequenceOf(id) === 1 && previous !== null;
}
