import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { SalvageError } from '../../errors/salvage-error.ts';
import { replacePrivateFile } from '../../posix/replace-private-file.ts';
import type { ObjectDigest, RepositoryId } from '../../repository/ids.ts';
import {
  countSchema,
  decodeJson,
  encodeJson,
  objectDigestSchema,
  repositoryIdSchema,
  timeSchema,
} from '../../repository/json-document.ts';

/** What a keeper saw of a repository when it last looked. Lost, it is made anew from what storage tells. */
export interface KeeperState {
  /** When it last looked, by its own clock. RFC 3339. */
  readonly looked: string | null;
  /** The highest sequence of a snapshot that was ever there. */
  readonly newestSnapshot: number;
  /** The newest record that it wrote or saw. */
  readonly record: { readonly number: number; readonly digest: ObjectDigest } | null;
  /** By snapshot id: when storage received it, as was decided at first sight. RFC 3339. */
  readonly received: Readonly<Record<string, string>>;
  /**
   * Objects that no snapshot lists, on a storage that does not tell when it received them: the newest sequence when they
   * were first seen.
   */
  readonly unlisted: Readonly<Record<string, number>>;
}

const maxBytes = 256 * 1024 * 1024;
const schema = v.strictObject({
  format: v.literal('salvage-keeper-state'),
  version: v.literal(1),
  repository: repositoryIdSchema,
  looked: v.nullable(timeSchema),
  newestSnapshot: countSchema,
  record: v.nullable(v.strictObject({ number: countSchema, digest: objectDigestSchema })),
  received: v.record(v.string(), timeSchema),
  unlisted: v.record(v.string(), countSchema),
});

const nothing: KeeperState = {
  looked: null,
  newestSnapshot: 0,
  record: null,
  received: {},
  unlisted: {},
};

/** The state of one repository, in a file of its own. */
export class KeeperStateFile {
  readonly #path: string;
  readonly #repository: RepositoryId;

  /** `folder` is there. */
  constructor(folder: string, repository: RepositoryId) {
    this.#path = join(folder, `${repository}.json`);
    this.#repository = repository;
  }

  /** @throws failed if the file is there and cannot be used: forgetting it silently would be what an attacker wants */
  read(): KeeperState {
    let bytes: Buffer;
    try {
      bytes = readFileSync(this.#path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return nothing;
      throw this.#failed('read', (cause as Error).message, cause);
    }
    try {
      const {
        format: _,
        version: __,
        repository,
        ...state
      } = decodeJson(schema, bytes, maxBytes, this.#path);
      if (repository === this.#repository) return state;
    } catch (cause) {
      throw this.#failed('use', 'it is not a valid one', cause);
    }
    throw this.#failed('use', 'it is of another repository');
  }

  /** Whole or not at all. @throws failed */
  write(state: KeeperState): void {
    try {
      replacePrivateFile(
        this.#path,
        encodeJson({ format: 'salvage-keeper-state', version: 1, repository: this.#repository, ...state }),
      );
    } catch (cause) {
      throw this.#failed('write', (cause as Error).message, cause);
    }
  }

  #failed(what: string, state: string, cause?: unknown): SalvageError {
    return new SalvageError('failed', `Cannot ${what} the keeper's state "${this.#path}": ${state}`, {
      hint: 'Move it away if you are sure that the repository is as it should be: it is made anew.',
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

/** Makes the folder of the states. @throws failed */
export function makeStateFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new SalvageError(
      'failed',
      `Cannot make the folder of the keeper's states "${folder}": ${(cause as Error).message}`,
      { cause },
    );
  }
}
