import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isSea } from 'node:sea';
import { getEnvironmentData, setEnvironmentData, threadId } from 'node:worker_threads';
import type koffiModule from 'koffi';
import { isBundled, readAsset } from './read-asset.ts';

/** What threads inherit from the one that starts them. */
const folderKey = 'salvage.native-folder';

/** Names the user's private folder in which a single executable keeps its native code. Before any worker starts. */
export function useNativeFolder(folder: string): void {
  setEnvironmentData(folderKey, folder);
}

let loaded: typeof koffiModule | undefined;

/** koffi, by which foreign functions are called. @throws what the dynamic linker says */
export function loadKoffi(): typeof koffiModule {
  return (loaded ??= load());
}

function load(): typeof koffiModule {
  if (!isBundled) return createRequire(import.meta.url)('koffi') as typeof koffiModule;
  // koffi itself only finds and wraps this package, for the sake of callers of its older versions.
  const native = `@koromix/koffi-${process.platform}-${process.arch}`;
  if (!isSea()) return createRequire(import.meta.filename)(native) as typeof koffiModule;
  return loadUnpacked(readAsset(new URL('./koffi.node', import.meta.url)));
}

/** The dynamic linker wants a file. A folder that keeps it is the faster way; one that lasts only for a moment always serves. */
function loadUnpacked(code: Uint8Array): typeof koffiModule {
  const folder = getEnvironmentData(folderKey);
  if (typeof folder === 'string') {
    try {
      return link(keepIn(folder, code));
    } catch {
      // Not ours, read-only, full, or mounted with noexec.
    }
  }
  const passing = mkdtempSync(join(tmpdir(), 'salvage-'));
  try {
    const file = join(passing, 'koffi.node');
    writeFileSync(file, code, { mode: 0o500 });
    return link(file);
  } finally {
    rmSync(passing, { recursive: true });
  }
}

function link(file: string): typeof koffiModule {
  const module = { exports: {} };
  process.dlopen(module, file);
  return module.exports as typeof koffiModule;
}

/** The path of exactly this code in a folder that nobody else can write to. @throws if there cannot be one */
function keepIn(folder: string, code: Uint8Array): string {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { uid, mode } = lstatSync(folder);
  const isDirectory = (mode & constants.S_IFMT) === constants.S_IFDIR;
  if (!isDirectory || uid !== process.getuid!()) throw new Error(`${folder} is not ours`);
  if ((mode & 0o077) !== 0) chmodSync(folder, 0o700);
  const file = join(folder, `koffi-${createHash('sha256').update(code).digest('hex')}.node`);
  if (!holds(file, code)) {
    const written = `${file}.${process.pid}.${threadId}`;
    try {
      rmSync(written, { force: true });
      writeFileSync(written, code, { mode: 0o500, flag: 'wx' });
      renameSync(written, file);
    } finally {
      rmSync(written, { force: true });
    }
  }
  return file;
}

/** Compared byte by byte: whoever changed the file, or a disk that lost it, must not choose what runs here. */
function holds(file: string, code: Uint8Array): boolean {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return false;
  }
  try {
    const status = fstatSync(fd);
    return (
      status.isFile() &&
      status.uid === process.getuid!() &&
      status.size === code.length &&
      readFileSync(fd).equals(code)
    );
  } finally {
    closeSync(fd);
  }
}
