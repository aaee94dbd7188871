import { createHash } from 'node:crypto';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { ObjectDigest } from '../../repository/ids.ts';
import { roleOf } from '../../repository/layout.ts';
import { limits } from '../../repository/limits.ts';
import type { ObjectVersion, Storage } from '../../storage/storage.ts';

/** Whoever writes over an object does so after it was stored: what was signed is among the oldest versions. */
const oldestVersions = 8;
const pieceBytes = 8 * 1024 * 1024;

/**
 * Looks for what was stored under a name before somebody wrote over it or removed it, where storage keeps older versions.
 * True if there is one that `accept` takes: from then on reading gives it.
 */
export async function findOriginal(
  storage: Storage,
  name: string,
  accept: (version: ObjectVersion) => Promise<boolean>,
  signal?: AbortSignal,
): Promise<boolean> {
  const found = await oldVersions(storage, name, signal);
  // What is there now is what was found wanting.
  const original = await firstAsync(
    found.filter(({ superseded }) => superseded),
    accept,
  );
  if (original) storage.versions!.prefer(original);
  return original !== undefined;
}

/** As `findOriginal`, for the version that has this SHA-256. */
export async function findByDigest(
  storage: Storage,
  name: string,
  digest: ObjectDigest,
  signal?: AbortSignal,
): Promise<boolean> {
  return await findOriginal(
    storage,
    name,
    async (version) => (await hashVersion(storage, version, signal)) === digest,
    signal,
  );
}

/** As `findByDigest`, for objects whose names are their digests. */
export async function findNamedByDigest(
  storage: Storage,
  name: string,
  signal?: AbortSignal,
): Promise<boolean> {
  const role = roleOf(name);
  if (role?.kind !== 'pack' && role?.kind !== 'index') return false;
  return await findByDigest(storage, name, role.id, signal);
}

/** The first versions of an object, what the name stands for now among them if there are few. */
export async function oldVersions(
  storage: Storage,
  name: string,
  signal?: AbortSignal,
): Promise<readonly ObjectVersion[]> {
  const found: ObjectVersion[] = [];
  for await (const version of storage.versions?.list(name, signal) ?? [])
    if (version.name === name && version.sizeBytes <= limits.storedObject) {
      found.push(version);
      if (found.length === oldestVersions) break;
    }
  return found;
}

/** The bytes of a version, or undefined if it is gone or longer than `maxBytes`. */
export async function readVersion(
  storage: Storage,
  version: ObjectVersion,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array | undefined> {
  if (version.sizeBytes > maxBytes) return undefined;
  const bytes = await storage.versions!.read(version, { offset: 0, length: maxBytes + 1 }, signal);
  return bytes && bytes.length <= maxBytes ? bytes : undefined;
}

async function hashVersion(storage: Storage, version: ObjectVersion, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for (let offset = 0; offset < version.sizeBytes; offset += pieceBytes)
    hash.update(
      (await storage.versions!.read(version, { offset, length: pieceBytes }, signal)) ?? new Uint8Array(0),
    );
  return hash.digest('hex');
}

async function firstAsync<T>(
  items: readonly T[],
  accept: (item: T) => Promise<boolean>,
): Promise<T | undefined> {
  for (const item of items) if (await accept(item)) return item;
  return undefined;
}

/** True if the error says that an object is not what it should be: another version may be. */
export function tellsOfDamage(error: unknown): error is SalvageError {
  return (
    error instanceof SalvageError && ['damaged', 'bad-signature', 'no-identity-match'].includes(error.code)
  );
}
