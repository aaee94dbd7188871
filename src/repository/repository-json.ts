import * as v from 'valibot';
import { SalvageError } from '../errors/salvage-error.ts';
import type { RepositoryId } from './ids.ts';
import { decodeJson, encodeJson, repositoryIdSchema, timeSchema } from './json-document.ts';
import { repositoryName } from './layout.ts';
import { limits } from './limits.ts';

/** repository.json: what makes a place a repository (docs/design/format.md "Layout"). */
export interface RepositoryJson {
  readonly format: 'salvage-repository';
  readonly version: 1;
  readonly id: RepositoryId;
  /** RFC 3339, UTC. */
  readonly created: string;
}

const formatSchema = v.looseObject({ format: v.literal('salvage-repository'), version: countVersion() });
const schema: v.GenericSchema<unknown, RepositoryJson> = v.strictObject({
  format: v.literal('salvage-repository'),
  version: v.literal(1),
  id: repositoryIdSchema,
  created: timeSchema,
});

export function encodeRepositoryJson(id: RepositoryId, created: Date): Uint8Array<ArrayBuffer> {
  return encodeJson({ format: 'salvage-repository', version: 1, id, created: created.toISOString() });
}

/** @throws damaged; failed for a repository of a later version */
export function decodeRepositoryJson(bytes: Uint8Array): RepositoryJson {
  const { version } = decodeJson(formatSchema, bytes, limits.repositoryJson, repositoryName);
  if (version > 1)
    throw new SalvageError(
      'failed',
      `Cannot use this repository: its format is version ${version}, this salvage knows version 1`,
      {
        hint: 'Install a newer salvage.',
      },
    );
  return decodeJson(schema, bytes, limits.repositoryJson, repositoryName);
}

function countVersion(): v.GenericSchema<number> {
  return v.pipe(v.number(), v.safeInteger(), v.minValue(1));
}
