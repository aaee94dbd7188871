// Writes src/configuration/schema/salvage.schema.json, from which editors know the keys of salvage.toml:
//     node tools/json-schema.ts
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { toJsonSchema } from '@valibot/to-json-schema';
import { configurationSchema } from '../src/configuration/schema/configuration-schema.ts';

const path = join(import.meta.dirname, '..', 'src', 'configuration', 'schema', 'salvage.schema.json');

/** Its text. What JSON Schema cannot say, such as the names of other tables, only `salvage config check` knows. */
export function configurationJsonSchema(): string {
  const schema = toJsonSchema(configurationSchema, { typeMode: 'input', errorMode: 'ignore' });
  return `${JSON.stringify(schema, undefined, 1)}\n`;
}

if (import.meta.main) writeFileSync(path, configurationJsonSchema());
