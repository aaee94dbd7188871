import * as v from 'valibot';
import { isUtf8 } from 'node:buffer';
import { asBuffer, utf8Bytes } from '../bytes/bytes.ts';
import { damagedObject } from './damage.ts';
import {
  isObjectDigest,
  isRepositoryId,
  isSnapshotId,
  type ObjectDigest,
  type RepositoryId,
  type SnapshotId,
} from './ids.ts';

type Schema = v.GenericSchema;

/** JSON as it is stored: one object, UTF-8, with a line feed at the end; on many lines for people, or on one. */
export function encodeJson(document: object, layout: 'lines' | 'compact' = 'lines'): Uint8Array<ArrayBuffer> {
  return utf8Bytes(`${JSON.stringify(document, undefined, layout === 'lines' ? 1 : undefined)}\n`);
}

/** What `bytes` hold, if the schema accepts it. `name` is for messages. @throws damaged */
export function decodeJson<S extends Schema>(
  schema: S,
  bytes: Uint8Array,
  maxBytes: number,
  name: string,
): v.InferOutput<S> {
  if (bytes.length > maxBytes)
    throw damagedObject(name, `it has ${bytes.length} bytes where ${maxBytes} are allowed`);
  if (!isUtf8(bytes)) throw damagedObject(name, 'it is not UTF-8');
  let json: unknown;
  try {
    json = JSON.parse(asBuffer(bytes).toString());
  } catch (cause) {
    throw damagedObject(name, 'it is not JSON', cause);
  }
  const result = v.safeParse(schema, json, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  // Not the schema's message, which quotes what it found: it may be a secret.
  throw damagedObject(name, `"${v.getDotPath(issue) ?? 'the whole'}" is not a proper ${issue.type}`);
}

export const objectDigestSchema: v.GenericSchema<string, ObjectDigest> = v.custom<ObjectDigest>(
  (value) => typeof value === 'string' && isObjectDigest(value),
  'no SHA-256',
) as v.GenericSchema<string, ObjectDigest>;

export const repositoryIdSchema: v.GenericSchema<string, RepositoryId> = v.custom<RepositoryId>(
  (value) => typeof value === 'string' && isRepositoryId(value),
  'no repository id',
) as v.GenericSchema<string, RepositoryId>;

export const snapshotIdSchema: v.GenericSchema<string, SnapshotId> = v.custom<SnapshotId>(
  (value) => typeof value === 'string' && isSnapshotId(value),
  'no snapshot id',
) as v.GenericSchema<string, SnapshotId>;

/** RFC 3339 in UTC with up to three digits after the second, as Date writes it. */
export const timeSchema: v.GenericSchema<string> = v.pipe(
  v.string(),
  v.regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,3})?Z$/),
  v.check((text) => !Number.isNaN(Date.parse(text)), 'no time'),
);

/** A whole number from 0 to 2^53 - 1. */
export const countSchema: v.GenericSchema<number> = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
