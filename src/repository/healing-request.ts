import * as v from 'valibot';
import { damagedObject } from './damage.ts';
import { timeStamp, type PackId, type RepositoryId } from './ids.ts';
import {
  decodeJson,
  encodeJson,
  objectDigestSchema,
  repositoryIdSchema,
  timeSchema,
} from './json-document.ts';
import { healingFileName, type HealingRequestId } from './layout.ts';
import { limits } from './limits.ts';

/** healing/<time>-<random>.json: packs that an auditor found damaged or missing (docs/design/format.md "Healing requests"). */
export interface HealingRequest {
  readonly repository: RepositoryId;
  /** By the auditor's clock. RFC 3339, UTC. */
  readonly time: string;
  /** No new snapshot of the host may refer to them. */
  readonly packs: readonly PackId[];
}

/** So many packs may stand in one request. */
export const mostPacksInRequest = 10_000;

const schema = v.strictObject({
  format: v.literal('salvage-healing'),
  version: v.literal(1),
  repository: repositoryIdSchema,
  time: timeSchema,
  packs: v.pipe(v.array(objectDigestSchema), v.minLength(1), v.maxLength(mostPacksInRequest)),
});

export function encodeHealingRequest({ repository, time, packs }: HealingRequest): Uint8Array<ArrayBuffer> {
  return encodeJson({ format: 'salvage-healing', version: 1, repository, time, packs });
}

/** The request stored under this name. Says nothing of who wrote it: its signature does. @throws damaged */
export function decodeHealingRequest(bytes: Uint8Array, id: HealingRequestId): HealingRequest {
  const name = healingFileName(id, 'json');
  const { repository, time, packs } = decodeJson(schema, bytes, limits.healingRequest, name);
  if (timeStamp(new Date(time)) !== id.stamp) throw damagedObject(name, `it is a request of ${time}`);
  return { repository, time, packs: packs as readonly PackId[] };
}
