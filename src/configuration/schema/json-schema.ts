import { asBuffer } from '../../bytes/bytes.ts';
import { readAsset } from '../../bundle/read-asset.ts';

/** The JSON Schema of salvage.toml, for editors. Made by tools/json-schema.ts. */
export function readJsonSchema(): string {
  return asBuffer(readAsset(new URL('./salvage.schema.json', import.meta.url))).toString('utf8');
}
