import { join } from 'node:path';
import type { Identity } from '../../age/recipient.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { CacheFolder, type CacheState } from '../../repository/cache/cache-folder.ts';
import { sequenceOf, type ObjectDigest, type PackId, type RepositoryId } from '../../repository/ids.ts';
import { packsPrefix, roleOf } from '../../repository/layout.ts';
import { PackTable } from '../../repository/pack/pack-table.ts';
import type { PublicKey } from '../../ssh/public-key.ts';
import type { Storage } from '../../storage/storage.ts';
import { readHealingRequests, type RequestedHealing } from '../healing/healing-requests.ts';
import { RemovalMarks } from '../keeper/removal-marks.ts';
import { listSnapshots, type StoredSnapshot } from '../open-repository.ts';
import { readSignedSnapshot, type SignedSnapshot } from '../reading/signed-snapshot.ts';
import { Journal, type JournaledPack } from './journal.ts';
import type { BackupObserver } from './observer.ts';
import { mostHealedPacks } from './heal-packs.ts';
import { openIndex } from './open-index.ts';
import { PackFacts } from './pack-facts.ts';

/** Of requests that are refused, so many are told of. */
const mostNotices = 5;

/** What this host remembers of a repository. The lock on the folder is held. */
export interface Remembered {
  readonly cache: CacheFolder;
  readonly state: CacheState | undefined;
  readonly journal: Journal;
  /** What runs that did not come to their end have stored, or tried to. */
  readonly journaled: readonly JournaledPack[];
  readonly factsPath: string;
}

/** What a run starts from: what storage has and what this host remembers of it. */
export interface StartingPoint {
  readonly cache: CacheFolder;
  readonly journal: Journal;
  readonly packs: PackTable;
  readonly facts: PackFacts;
  readonly factsPath: string;
  readonly lastListing: string | undefined;
  readonly levels: readonly string[];
  /** Packs whose blobs are in none of the levels: of unfinished runs, or found again through the index. */
  readonly unlisted: readonly JournaledPack[];
  /** Those of `unlisted` that no index object lists yet. */
  readonly unindexed: ReadonlySet<PackId>;
  /** Stored bytes of all packs. */
  readonly storedBytes: number;
  /** Numbers of the packs that auditors have asked to be healed and that this run treats as gone. */
  readonly healed: readonly number[];
  /** Packs that auditors have asked for as well, and that a later run treats so. */
  readonly healingDeferred: number;
}

export interface KnownRepository extends StartingPoint {
  /** The newest snapshot: sequence and digest of its SHA256SUMS. Sequence 0 and null if there is none. */
  readonly head: { readonly sequence: number; readonly digest: ObjectDigest | null };
  /** What a keeper is about to remove: it counts as absent. */
  readonly marks: RemovalMarks;
}

export interface KnownRepositoryOptions {
  readonly storage: Storage;
  readonly repositoryId: RepositoryId;
  /** Of this very host. */
  readonly publicKey: PublicKey;
  readonly indexKey: Identity;
  /** Public keys of those whose requests for healing count. */
  readonly auditors: readonly string[];
  readonly observer: BackupObserver;
  readonly now: Date;
  readonly signal: AbortSignal;
}

/** `folder` is that of this repository in the user's cache. */
export function readRemembered(folder: string, repositoryId: RepositoryId): Remembered {
  const cache = new CacheFolder(join(folder, 'cache'), repositoryId);
  const journal = new Journal(join(folder, 'journal'));
  return {
    cache,
    state: cache.load(),
    journal,
    journaled: journal.read(),
    factsPath: join(folder, 'packs'),
  };
}

/** What a run starts from if nothing has ever been backed up to the repository; undefined if this host remembers anything. */
export function assumeNew({
  cache,
  state,
  journal,
  journaled,
  factsPath,
}: Remembered): StartingPoint | undefined {
  if (state || journaled.length > 0) return undefined;
  return {
    cache,
    journal,
    packs: new PackTable(),
    facts: PackFacts.read(factsPath, ''),
    factsPath,
    lastListing: undefined,
    levels: [],
    unlisted: [],
    unindexed: new Set(),
    storedBytes: 0,
    healed: [],
    healingDeferred: 0,
  };
}

/** True if a run that was begun with `assumeNew` has begun with what is so. */
export function isNew({ head, unlisted, healed }: KnownRepository): boolean {
  return head.sequence === 0 && unlisted.length === 0 && healed.length === 0;
}

/** Looks at storage once and compares it with what is remembered; what is lost of that comes from the index objects. */
export async function readKnownRepository(
  { cache, state, journal, journaled: remembered, factsPath }: Remembered,
  options: KnownRepositoryOptions,
): Promise<KnownRepository> {
  const { storage, repositoryId, auditors, observer, now, signal } = options;
  const listing = listSnapshots(storage, signal);
  const requests = readHealingRequests(storage, repositoryId, auditors, now, signal);
  // They may fail while the marks are waited for.
  for (const begun of [listing, requests]) begun.catch(() => {});
  // Before packs are listed: what is removed after this look is known to be marked.
  const marks = await RemovalMarks.read(storage, signal);
  const [{ committed }, sizes, requested] = await Promise.all([
    listing,
    listPacks(storage, signal),
    requests,
  ]);
  for (const message of requested.refused.slice(0, mostNotices)) observer.onNotice(message);
  const packs = state?.packs ?? new PackTable();
  const { healed, healingDeferred } = chooseHealed(packs, requested);
  for (let number = 0; number < packs.size; number++) {
    const id = packs.idOf(number);
    if (id !== undefined && (!sizes.has(id) || marks.has(id))) packs.forget(number);
  }
  const isTakenUp = ({ id, sizeBytes }: JournaledPack): boolean =>
    packs.find(id) === undefined && sizes.get(id) === sizeBytes && !marks.has(id) && !requested.packs.has(id);
  const journaled = remembered.filter(isTakenUp);
  let rebuilt: JournaledPack[] = [];
  if (!state && committed.length > 0) {
    observer.onNotice('the cache is not there: it is made anew from the index, and all sources are read');
    rebuilt = (await readIndexes(committed, options)).filter(isTakenUp);
  }
  const indexed = new Set(rebuilt.map(({ id }) => id));
  const unindexed = journaled.filter(({ id }) => !indexed.has(id));
  let storedBytes = 0;
  for (const size of sizes.values()) storedBytes += size;
  return {
    cache,
    journal,
    packs,
    facts: PackFacts.read(factsPath, state?.checksums ?? ''),
    factsPath,
    lastListing: state?.listing,
    levels: state?.levels ?? [],
    unlisted: [...rebuilt, ...unindexed],
    unindexed: new Set(unindexed.map(({ id }) => id)),
    head: await findHead(
      committed,
      state && { sequence: sequenceOf(state.snapshot), digest: state.checksums },
      options,
    ),
    storedBytes,
    marks,
    healed,
    healingDeferred,
  };
}

/** Has the table forget packs that are to be healed. What it has forgotten is not found in it again: a request is acted on once. */
function chooseHealed(
  packs: PackTable,
  requested: RequestedHealing,
): { readonly healed: readonly number[]; readonly healingDeferred: number } {
  const known = [...requested.packs].map((id) => packs.find(id)).filter((number) => number !== undefined);
  const healed = known.toSorted((a, b) => a - b).slice(0, mostHealedPacks(packs.size));
  for (const number of healed) packs.forget(number);
  return { healed, healingDeferred: known.length - healed.length };
}

async function listPacks(storage: Storage, signal: AbortSignal): Promise<Map<PackId, number>> {
  const sizes = new Map<PackId, number>();
  for await (const { name, sizeBytes } of storage.list(packsPrefix, signal)) {
    const role = roleOf(name);
    if (role?.kind === 'pack') sizes.set(role.id, sizeBytes);
  }
  return sizes;
}

/**
 * The newest snapshot of this host, by what storage has or by what the host remembers, whichever is later: the chain goes
 * on from there whoever has taken snapshots away. A host that has none yet goes on from the newest whose signature fits.
 */
async function findHead(
  committed: readonly StoredSnapshot[],
  remembered: { readonly sequence: number; readonly digest: ObjectDigest } | undefined,
  options: KnownRepositoryOptions,
): Promise<{ readonly sequence: number; readonly digest: ObjectDigest | null }> {
  const newest = committed.at(-1);
  if (remembered && sequenceOf(newest?.id ?? ('00000000' as StoredSnapshot['id'])) <= remembered.sequence) {
    if (!newest || sequenceOf(newest.id) < remembered.sequence)
      options.observer.onNotice(
        `snapshot ${remembered.sequence} of this host is no longer in the repository: somebody has removed it, or storage was set back`,
      );
    return remembered;
  }
  let fallback: SignedSnapshot | undefined;
  for (const { id } of committed.toReversed()) {
    const signed = await readOwn(id, options);
    if (signed) return { sequence: sequenceOf(id), digest: signed.digest };
    fallback ??= await readAny(id, options);
  }
  return fallback
    ? { sequence: sequenceOf(fallback.id), digest: fallback.digest }
    : { sequence: 0, digest: null };
}

/** The packs that the index objects of this host's own snapshots list, those of the newest snapshots first. */
async function readIndexes(
  committed: readonly StoredSnapshot[],
  options: KnownRepositoryOptions,
): Promise<JournaledPack[]> {
  const { storage, indexKey, observer, signal } = options;
  const seen = new Set<string>();
  const packs: JournaledPack[] = [];
  for (const { id } of committed.toReversed()) {
    const signed = await readOwn(id, options);
    for (const index of signed?.checksums.indexes ?? []) {
      if (seen.has(index)) continue;
      seen.add(index);
      try {
        for (const { pack, kind, sizeBytes, blobs } of (await openIndex(storage, index, indexKey, signal)) ??
          []) {
          if (seen.has(pack)) continue;
          seen.add(pack);
          packs.push({ id: pack, kind, sizeBytes, blobs });
        }
      } catch (error) {
        // It only costs that its blobs are stored once more.
        if (!isDistrusted(error)) throw error;
        observer.onNotice(`${error.message}; what no other index object lists is stored once more`);
      }
    }
  }
  return packs;
}

/** The snapshot's signed list, if this very host signed it. */
async function readOwn(
  id: StoredSnapshot['id'],
  { storage, publicKey, now, signal }: KnownRepositoryOptions,
): Promise<SignedSnapshot | undefined> {
  const own = {
    principals: 'host',
    key: publicKey,
    certAuthority: false,
    namespaces: undefined,
    validAfter: undefined,
    validBefore: undefined,
    line: 1,
  };
  try {
    return await readSignedSnapshot(storage, id, { allowedSigners: [own], principal: 'host' }, now, signal);
  } catch (error) {
    if (isDistrusted(error)) return undefined;
    throw error;
  }
}

async function readAny(
  id: StoredSnapshot['id'],
  { storage, now, signal }: KnownRepositoryOptions,
): Promise<SignedSnapshot | undefined> {
  try {
    return await readSignedSnapshot(storage, id, undefined, now, signal);
  } catch (error) {
    if (isDistrusted(error)) return undefined;
    throw error;
  }
}

function isDistrusted(error: unknown): error is SalvageError {
  return error instanceof SalvageError && error.code !== 'failed' && error.code !== 'interrupted';
}
