import { lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { basename, dirname, join, sep } from 'node:path';
import { SalvageError } from '../../errors/salvage-error.ts';
import { FileLock } from '../../posix/file-lock.ts';
import { LocalStorage } from '../../storage/local/local-storage.ts';
import { errorCodes, Refusal } from '../../storage/serve/messages.ts';
import { bytesPerName, type Served } from '../../storage/serve/served.ts';
import { FolderLimits } from './folder-limits.ts';
import { serveRights, type ServeMode } from './serve-rights.ts';
import { UsageLedger } from './usage-ledger.ts';

export interface ServeFolderOptions {
  /** The folder that is served, which exists. */
  readonly root: string;
  readonly mode: ServeMode;
  /** Bytes that the folder may hold, each object counted with 4 KiB for its name. */
  readonly quotaBytes?: number | undefined;
  /** Of archives; other objects have the limit of the format as well. */
  readonly largestObjectBytes?: number | undefined;
  /** Connections to the folder at a time. */
  readonly connections: number;
}

/** Of the server itself; no object name begins with a dot. */
const serverFolder = '.serve';
/** An upload that nobody has touched for so long has been left by a program that was killed. */
const untouchedMs = 24 * 60 * 60 * 1000;
/** Measuring a large folder takes its time. */
const entranceMs = 60_000;

/**
 * The folder that a client asks for, at `path` below the root: what it may do there, and no way out. A host's door is one
 * folder: with `append-only` or a quota there is nothing below the root to choose from, since names there would mean other
 * objects than they seem to.
 * @throws Refusal; failed if the root cannot be used
 */
export async function openServedFolder(
  { root, mode, quotaBytes, largestObjectBytes, connections }: ServeFolderOptions,
  path: string,
): Promise<Served> {
  const home = resolveRoot(root);
  const parts = path.split('/').filter((part) => part !== '');
  if (parts.length > 0 && (mode === 'append-only' || quotaBytes !== undefined))
    throw new Refusal(
      errorCodes.denied,
      `this key opens one folder, and there is no "${path}" in it: leave the path out of the URL`,
    );
  const folder = resolveBelow(home, parts);
  const storage = new LocalStorage(folder);
  const limits = new FolderLimits(folder);
  const served = {
    storage,
    rights: serveRights(mode),
    largestObjectBytes,
    guard: async (name: string) => refuseLinks(folder, name),
    ...(mode === 'append-only' && { admit: async (name: string) => await limits.admit(name) }),
  };
  for (const own of ['.incoming', serverFolder]) refuseLinks(folder, `${own}/x`);
  // It takes room and does no other harm: nothing is lost if it cannot be cleared up.
  const clearUp = async (): Promise<void> => {
    if (mode !== 'read-only') await storage.removeUnfinished(untouchedMs).catch(() => {});
  };
  // A client that is trusted needs no bounds.
  if (mode !== 'append-only' && quotaBytes === undefined) {
    await clearUp();
    return { ...served, close: async () => {} };
  }
  const state = join(folder, serverFolder);
  mkdirSync(state, { recursive: true, mode: 0o700 });
  // One after the other: whoever is alone counts what there is, and must still be alone when it has done so.
  using _entrance = await enter(state);
  const { seat, isAlone } = takeSeat(state, connections);
  // What others have under way is theirs, however slow they are: no client can have it taken away by connecting.
  if (isAlone) await clearUp();
  let ledger: UsageLedger | undefined;
  try {
    if (quotaBytes !== undefined) {
      ledger = new UsageLedger(state, quotaBytes);
      if (isAlone) ledger.set(await measure(storage));
    }
  } catch (error) {
    ledger?.close();
    seat[Symbol.dispose]();
    throw error;
  }
  return {
    ...served,
    ...(ledger && { quota: ledger }),
    async close() {
      ledger?.close();
      seat[Symbol.dispose]();
      await Promise.resolve();
    },
  };
}

function resolveRoot(root: string): string {
  try {
    const home = realpathSync(root);
    if (lstatSync(home).isDirectory()) return home;
  } catch (cause) {
    throw new SalvageError('failed', `Cannot serve "${root}": ${(cause as Error).message}`, { cause });
  }
  throw new SalvageError('failed', `Cannot serve "${root}": it is no folder`);
}

/** The folder need not be there yet. Symbolic links are followed as long as they stay below the root. */
function resolveBelow(home: string, parts: readonly string[]): string {
  if (parts.some((part) => part === '.' || part === '..'))
    throw new Refusal(errorCodes.denied, 'the path leads out of the folder of this key');
  let existing = join(home, ...parts);
  const missing: string[] = [];
  while (!isThere(existing)) {
    missing.unshift(basename(existing));
    existing = dirname(existing);
  }
  const real = realpathOf(existing);
  if (real !== home && !real.startsWith(home.endsWith(sep) ? home : home + sep))
    throw new Refusal(errorCodes.denied, 'the path leads out of the folder of this key');
  return join(real, ...missing);
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function realpathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch (cause) {
    throw new Refusal(errorCodes.failed, 'the path leads nowhere', { cause });
  }
}

/** The folders between the served one and the object must be folders: a link would lead elsewhere. */
function refuseLinks(folder: string, name: string): void {
  let path = folder;
  for (const part of name.split('/').slice(0, -1)) {
    path = join(path, part);
    const status = lstatSync(path, { throwIfNoEntry: false });
    if (!status) return;
    if (status.isSymbolicLink())
      throw new Refusal(errorCodes.denied, 'there is a symbolic link on the way to it');
  }
}

async function enter(state: string): Promise<FileLock> {
  for (let waitedMs = 0; waitedMs < entranceMs; waitedMs += 50) {
    const lock = FileLock.take(join(state, 'entrance'));
    if (lock) return lock;
    await setTimeout(50);
  }
  throw new Refusal(errorCodes.busy, 'another connection is still being set up');
}

/** A place among so many connections; `isAlone` if nobody else has one. */
function takeSeat(
  state: string,
  connections: number,
): { readonly seat: FileLock; readonly isAlone: boolean } {
  let seat: FileLock | undefined;
  let isAlone = true;
  for (let number = 1; number <= connections; number++) {
    const lock = FileLock.take(join(state, `connection-${number}`));
    if (!lock) isAlone = false;
    else if (seat) lock[Symbol.dispose]();
    else seat = lock;
  }
  if (!seat) throw new Refusal(errorCodes.busy, `all ${connections} connections to this place are in use`);
  return { seat, isAlone };
}

async function measure(storage: LocalStorage): Promise<number> {
  let bytes = 0;
  for await (const { sizeBytes } of storage.list('')) bytes += sizeBytes + bytesPerName;
  return bytes;
}
