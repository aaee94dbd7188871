import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { decodeJson, encodeJson, timeSchema } from '../../repository/json-document.ts';

const maxBytes = 1024 * 1024;
const schema = v.strictObject({
  format: v.literal('salvage-drilled-keys'),
  version: v.literal(1),
  keys: v.record(v.string(), timeSchema),
});

/** When each key file was last proved to restore something, for whoever asks whether it still does. Holds paths, no keys. */
export class DrilledKeys {
  readonly #folder: string;
  readonly #path: string;

  /** `folder` is for nothing else, and need not exist. */
  constructor(folder: string) {
    this.#folder = folder;
    this.#path = join(folder, 'keys.json');
  }

  /** RFC 3339, by the absolute path of the key file. What cannot be read proves nothing. */
  read(): ReadonlyMap<string, string> {
    try {
      return new Map(Object.entries(decodeJson(schema, readFileSync(this.#path), maxBytes, this.#path).keys));
    } catch {
      return new Map();
    }
  }

  /** @throws what the file system does */
  add(paths: readonly string[], time: string): void {
    const keys = Object.fromEntries([...this.read(), ...paths.map((path): [string, string] => [path, time])]);
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    writeFileSync(`${this.#path}.new`, encodeJson({ format: 'salvage-drilled-keys', version: 1, keys }), {
      mode: 0o600,
      flush: true,
    });
    renameSync(`${this.#path}.new`, this.#path);
  }
}
