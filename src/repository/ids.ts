import { toHex } from '../bytes/bytes.ts';
import { randomBytes } from '../clock/random.ts';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** SHA-256 of a stored object, 64 lower-case hexadecimal digits. */
export type ObjectDigest = Branded<'ObjectDigest'>;
/** The digest of a stored pack is its name. */
export type PackId = ObjectDigest;
/** The digest of a stored index object is its name. */
export type IndexId = ObjectDigest;
/** 32 lower-case hexadecimal digits, random. */
export type RepositoryId = Branded<'RepositoryId'>;
/** `<sequence, 8 digits>-<UTC yyyymmddThhmmssZ>-<8 hex random>`; sorts in order of sequence. */
export type SnapshotId = Branded<'SnapshotId'>;

const snapshotIdPattern = /^(\d{8})-(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z-[0-9a-f]{8}$/;

export function isObjectDigest(text: string): text is ObjectDigest {
  return /^[0-9a-f]{64}$/.test(text);
}

export function isRepositoryId(text: string): text is RepositoryId {
  return /^[0-9a-f]{32}$/.test(text);
}

export function isSnapshotId(text: string): text is SnapshotId {
  return snapshotIdPattern.test(text) && Number(text.slice(0, 8)) >= 1;
}

export function newRepositoryId(): RepositoryId {
  return toHex(randomBytes(16)) as RepositoryId;
}

/** @throws RangeError if `sequence` is not from 1 to `largestSequence`, or the year has not four digits */
export function newSnapshotId(sequence: number, time: Date): SnapshotId {
  const id = `${String(sequence).padStart(8, '0')}-${timeStamp(time)}-${toHex(randomBytes(4))}`;
  if (!Number.isSafeInteger(sequence) || !isSnapshotId(id))
    throw new RangeError(`no snapshot id for sequence ${sequence} at ${time.toISOString()}`);
  return id;
}

/** `yyyymmddThhmmssZ`, in UTC. */
export function timeStamp(time: Date): string {
  return time.toISOString().replace(/[-:]|\.\d{3}/g, '');
}

export function sequenceOf(id: SnapshotId): number {
  return Number(id.slice(0, 8));
}
