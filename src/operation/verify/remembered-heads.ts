import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { SalvageError } from '../../errors/salvage-error.ts';
import { replacePrivateFile } from '../../posix/replace-private-file.ts';
import type { ObjectDigest, RepositoryId, SnapshotId } from '../../repository/ids.ts';
import {
  countSchema,
  decodeJson,
  encodeJson,
  objectDigestSchema,
  repositoryIdSchema,
  snapshotIdSchema,
} from '../../repository/json-document.ts';
import type { KeeperHead } from './check-keeper-records.ts';

/** The newest snapshot of a repository that was ever found good. */
export interface RememberedHead {
  readonly repository: RepositoryId;
  readonly snapshot: SnapshotId;
  readonly sequence: number;
  /** Of its SHA256SUMS. */
  readonly digest: ObjectDigest;
  /** The newest record of a keeper; undefined if there was none, or nobody said whose to trust. */
  readonly keeper?: KeeperHead | undefined;
  /** Where the repository was seen. */
  readonly places: readonly string[];
}

const maxBytes = 64 * 1024;
const mostPlaces = 32;
const schema = v.strictObject({
  format: v.literal('salvage-head'),
  version: v.literal(1),
  repository: repositoryIdSchema,
  snapshot: snapshotIdSchema,
  sequence: countSchema,
  digest: objectDigestSchema,
  keeper: v.optional(v.strictObject({ number: countSchema, digest: objectDigestSchema })),
  places: v.array(v.string()),
});

/**
 * What a verifier remembers between runs, so that storage cannot show it yesterday's state as today's (format.md
 * "SHA256SUMS, signature, chain"): one small file for each repository. Not a secret, but worth protecting.
 */
export class RememberedHeads {
  readonly #folder: string;

  /** `folder` need not exist. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @throws failed if the file is there and cannot be used: forgetting it silently would be what an attacker wants */
  read(repository: RepositoryId): RememberedHead | undefined {
    return this.#read(join(this.#folder, `${repository}.json`));
  }

  /** The repositories that were seen at this place. @throws failed */
  at(place: string): RememberedHead[] {
    return this.all().filter((head) => head.places.includes(place));
  }

  /** Of every repository that was ever seen. @throws failed */
  all(): RememberedHead[] {
    let names: string[];
    try {
      names = readdirSync(this.#folder);
    } catch {
      return [];
    }
    return names
      .filter((name) => /^[0-9a-f]{32}\.json$/.test(name))
      .map((name) => this.#read(join(this.#folder, name)))
      .filter((head) => head !== undefined);
  }

  /** Whole or not at all. @throws failed */
  write(head: Omit<RememberedHead, 'places'>, place: string): void {
    const path = join(this.#folder, `${head.repository}.json`);
    const before = this.read(head.repository);
    const places = [...new Set([place, ...(before?.places ?? [])])].slice(0, mostPlaces);
    const { repository, snapshot, sequence, digest, keeper = before?.keeper } = head;
    try {
      replacePrivateFile(
        path,
        encodeJson({
          format: 'salvage-head',
          version: 1,
          repository,
          snapshot,
          sequence,
          digest,
          keeper,
          places,
        }),
      );
    } catch (cause) {
      throw new SalvageError('failed', `Cannot remember the head in "${path}": ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  #read(path: string): RememberedHead | undefined {
    let bytes: Buffer;
    try {
      bytes = readFileSync(path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new SalvageError(
        'failed',
        `Cannot read the remembered head "${path}": ${(cause as Error).message}`,
        {
          cause,
        },
      );
    }
    try {
      const { format: _, version: __, ...head } = decodeJson(schema, bytes, maxBytes, path);
      return head;
    } catch (cause) {
      throw new SalvageError('failed', `Cannot use the remembered head "${path}": it is not a valid one`, {
        hint: 'Move it away if you are sure that the repository is as it should be.',
        cause,
      });
    }
  }
}
