import { SalvageError } from '../errors/salvage-error.ts';
import { isSnapshotId, sequenceOf, type SnapshotId } from '../repository/ids.ts';
import { repositoryName, roleOf, snapshotsPrefix, type SnapshotFile } from '../repository/layout.ts';
import { limits } from '../repository/limits.ts';
import { decodeRepositoryJson, type RepositoryJson } from '../repository/repository-json.ts';
import type { ObjectVersion, Storage } from '../storage/storage.ts';
import { findOriginal, readVersion } from './reading/find-original.ts';
import { readBounded } from './reading/read-object.ts';

/** What storage lists of one snapshot. Says nothing of whether it is genuine. */
export interface StoredSnapshot {
  readonly id: SnapshotId;
  /** Sizes of the files that are there. */
  readonly files: ReadonlyMap<SnapshotFile, number>;
}

export interface StoredSnapshots {
  /** Those with a signature, in order of their names and so of their sequence. */
  readonly committed: readonly StoredSnapshot[];
  /** Left by runs that did not come to their end: they do not exist (format.md, rule 2). */
  readonly unfinished: readonly SnapshotId[];
}

/** The repository.json at this place. @throws no-repository, damaged */
export async function readRepositoryJson(storage: Storage, signal?: AbortSignal): Promise<RepositoryJson> {
  try {
    return await readCurrent(storage, signal);
  } catch (error) {
    const isOriginal = async (version: ObjectVersion): Promise<boolean> => {
      const bytes = await readVersion(storage, version, limits.repositoryJson, signal);
      return bytes !== undefined && isRepositoryJson(bytes);
    };
    if (!isLost(error) || !(await findOriginal(storage, repositoryName, isOriginal, signal))) throw error;
    return await readCurrent(storage, signal);
  }
}

function isLost(error: unknown): boolean {
  return error instanceof SalvageError && (error.code === 'damaged' || error.code === 'no-repository');
}

function isRepositoryJson(bytes: Uint8Array): boolean {
  try {
    decodeRepositoryJson(bytes);
    return true;
  } catch (error) {
    if (isLost(error)) return false;
    throw error;
  }
}

async function readCurrent(storage: Storage, signal?: AbortSignal): Promise<RepositoryJson> {
  const bytes = await readBounded(storage, repositoryName, limits.repositoryJson, signal);
  if (!bytes)
    throw new SalvageError(
      'no-repository',
      `Cannot open a repository at "${storage.description}": there is none`,
      { hint: 'Check the place; "salvage init --repo URL -R FILE" makes a new repository.' },
    );
  return decodeRepositoryJson(bytes);
}

/** One listing. Snapshots that are not one by their name are passed over. */
export async function listSnapshots(storage: Storage, signal?: AbortSignal): Promise<StoredSnapshots> {
  const found = new Map<SnapshotId, Map<SnapshotFile, number>>();
  for await (const { name, sizeBytes } of storage.list(snapshotsPrefix, signal)) {
    const role = roleOf(name);
    if (role?.kind !== 'snapshot') continue;
    let files = found.get(role.id);
    if (!files) found.set(role.id, (files = new Map()));
    files.set(role.file, sizeBytes);
  }
  return groupSnapshots(found);
}

export function groupSnapshots(
  found: ReadonlyMap<SnapshotId, ReadonlyMap<SnapshotFile, number>>,
): StoredSnapshots {
  const committed: StoredSnapshot[] = [];
  const unfinished: SnapshotId[] = [];
  for (const [id, files] of [...found].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (files.has('SHA256SUMS.sig')) committed.push({ id, files });
    else unfinished.push(id);
  }
  return { committed, unfinished };
}

/**
 * The snapshot that a user means: `latest`, a whole id, the beginning of exactly one, or a sequence number.
 * @throws usage if there is no such snapshot or more than one
 */
export function selectSnapshot(snapshots: readonly StoredSnapshot[], selector: string): SnapshotId {
  const hint = 'The command "salvage snapshots" lists them.';
  const refuse = (state: string): SalvageError =>
    new SalvageError('usage', `Cannot select the snapshot "${selector.slice(0, 100)}": ${state}`, { hint });
  if (selector === 'latest') {
    const last = snapshots.at(-1);
    if (!last) throw refuse('the repository has no snapshots');
    return last.id;
  }
  const bySequence = /^\d{1,8}$/.test(selector)
    ? snapshots.filter(({ id }) => sequenceOf(id) === Number(selector))
    : [];
  const matches =
    bySequence.length > 0 || selector === ''
      ? bySequence
      : snapshots.filter(({ id }) => id.startsWith(selector));
  if (matches.length === 0) throw refuse('there is none');
  if (matches.length > 1) throw refuse(`it could be any of ${matches.length}`);
  return matches[0]!.id;
}

/** A whole snapshot id names its snapshot without a listing. */
export function asSnapshotId(selector: string): SnapshotId | undefined {
  return isSnapshotId(selector) ? selector : undefined;
}
