import * as v from 'valibot';
import { damagedObject } from './damage.ts';
import { timeStamp, type ObjectDigest, type RepositoryId, type SnapshotId } from './ids.ts';
import {
  decodeJson,
  encodeJson,
  objectDigestSchema,
  repositoryIdSchema,
  snapshotIdSchema,
  timeSchema,
} from './json-document.ts';
import { handoverFileName, type HandoverId } from './layout.ts';
import { limits } from './limits.ts';

/** A host signs with another key from now on, and says so with the old one (docs/design/format.md "Hand-overs"). */
export interface Handover {
  readonly repository: RepositoryId;
  /** The principal under which verifiers list the old key. */
  readonly host: string;
  /** By the host's clock, in whole seconds. RFC 3339, UTC. */
  readonly time: string;
  /** The newest snapshot then, with the SHA-256 of its SHA256SUMS; null if there was none. */
  readonly after: { readonly id: SnapshotId; readonly checksums: ObjectDigest } | null;
  /** `ssh-ed25519 AAAA…` */
  readonly oldKey: string;
  readonly newKey: string;
}

const keySchema = v.pipe(v.string(), v.regex(/^[a-z0-9@.-]{1,64} [A-Za-z0-9+/]{1,8192}={0,2}$/));
const schema = v.strictObject({
  format: v.literal('salvage-handover'),
  version: v.literal(1),
  repository: repositoryIdSchema,
  host: v.pipe(v.string(), v.regex(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,252}$/)),
  time: timeSchema,
  after: v.nullable(v.strictObject({ id: snapshotIdSchema, checksums: objectDigestSchema })),
  oldKey: keySchema,
  newKey: keySchema,
});

export function encodeHandover(handover: Handover): Uint8Array<ArrayBuffer> {
  return encodeJson({ format: 'salvage-handover', version: 1, ...handover });
}

/** The hand-over stored under this name. Says nothing of who wrote it. @throws damaged */
export function decodeHandover(bytes: Uint8Array, id: HandoverId): Handover {
  const name = handoverFileName(id, 'json');
  const { format: _, version: __, ...handover } = decodeJson(schema, bytes, limits.handover, name);
  if (timeStamp(new Date(handover.time)) !== id.slice(0, 16))
    throw damagedObject(name, `it is of ${handover.time}`);
  return handover;
}
