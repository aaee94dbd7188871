import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { replacePrivateFile } from '../../posix/replace-private-file.ts';
import { decodeJson, encodeJson, timeSchema } from '../../repository/json-document.ts';

const maxBytes = 1024 * 1024;
const schema = v.strictObject({
  format: v.literal('salvage-drilled-keys'),
  version: v.literal(1),
  keys: v.record(v.string(), timeSchema),
});

/** When each key file was last proved to restore something, for whoever asks whether it still does. Holds paths, no keys. */
export class DrilledKeys {
  readonly #path: string;

  /** `folder` is for nothing else, and need not exist. */
  constructor(folder: string) {
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
    replacePrivateFile(this.#path, encodeJson({ format: 'salvage-drilled-keys', version: 1, keys }));
  }
}
