import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
  type Stats,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { toHex } from '../bytes/bytes.ts';
import { randomBytes } from '../clock/random.ts';
import { letSignalsKill } from './ending-signals.ts';
import { systemError } from './system-error.ts';

export interface OutputFileOptions {
  /** Permissions of a new file, before the umask. Default: 0o666. */
  readonly mode?: number;
  /** Have the file on the disk before it gets its name. */
  readonly sync?: boolean;
}

/**
 * A file that has its name only once it is whole. What is written goes to a file without a telling name in the same
 * folder; `commit` puts it in place in one step, and without `commit` nothing remains and an older file stays as it was.
 * Devices, fifos and files in a folder that cannot be written to are written in place.
 */
export class OutputFile {
  readonly fd: number;
  readonly #path: string;
  readonly #temporaryPath: string | undefined;
  readonly #sync: boolean;
  readonly #isRegular: boolean;
  #open = true;

  /** @throws failed if it cannot be created */
  constructor(path: string, options: OutputFileOptions = {}) {
    const existing = statIfThere(path);
    if (existing?.isDirectory()) throw systemError(`write "${path}"`, new Error('it is a folder'));
    this.#path = resolveLinks(path);
    this.#sync = options.sync ?? false;
    this.#isRegular = existing?.isFile() ?? true;
    const inPlace = !this.#isRegular || /^\/(dev\/(fd\/|std)|proc\/)/.test(path);
    const created = inPlace ? undefined : createBeside(this.#path, path, existing, options.mode ?? 0o666);
    if (created) {
      this.fd = created.fd;
      this.#temporaryPath = created.path;
      return;
    }
    try {
      this.fd = letSignalsKill(() => openSync(path, constants.O_WRONLY | constants.O_TRUNC));
    } catch (cause) {
      throw systemError(`write "${path}"`, cause);
    }
  }

  /** Appends all of it. @throws failed */
  write(bytes: Uint8Array): void {
    try {
      for (let offset = 0; offset < bytes.length;) offset += writeSync(this.fd, bytes, offset);
    } catch (cause) {
      throw systemError(`write "${this.#path}"`, cause);
    }
  }

  /** The file is whole: gives it its name. @throws failed; then nothing remains */
  commit(): void {
    try {
      if (this.#sync && this.#isRegular) fsyncSync(this.fd);
      this.#close();
      if (this.#temporaryPath !== undefined) renameSync(this.#temporaryPath, this.#path);
    } catch (cause) {
      if (this.#temporaryPath !== undefined) removeIfThere(this.#temporaryPath);
      throw systemError(`write "${this.#path}"`, cause);
    }
    if (this.#sync && this.#temporaryPath !== undefined) syncFolder(dirname(this.#path));
  }

  /** Without `commit` before it, takes away what was written. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    if (this.#temporaryPath !== undefined) removeIfThere(this.#temporaryPath);
    // Written in place, because there was no other way: at least it must not look whole.
    else if (this.#isRegular) ftruncateSync(this.fd, 0);
    this.#close();
  }

  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.fd);
  }
}

/** True if both names lead to the same existing file, be it through links. */
export function isSameFile(a: string, b: string): boolean {
  const [first, second] = [statIfThere(a), statIfThere(b)];
  return first !== undefined && second !== undefined && first.dev === second.dev && first.ino === second.ino;
}

/** A new file in the same folder, or undefined if the folder does not let us and the file itself may. */
function createBeside(
  target: string,
  path: string,
  existing: Stats | undefined,
  mode: number,
): { fd: number; path: string } | undefined {
  const temporaryPath = join(dirname(target), `.salvage-${toHex(randomBytes(8))}.partial`);
  try {
    const fd = openSync(temporaryPath, 'wx', mode);
    if (existing) takeOver(fd, existing);
    return { fd, path: temporaryPath };
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (existing && (code === 'EACCES' || code === 'EPERM')) return undefined;
    const missing = code === 'ENOENT' && new Error(`there is no folder "${dirname(target)}"`);
    throw systemError(`write "${path}"`, missing || cause);
  }
}

/** What stands under this name keeps its permissions and, where we may say so, its owner. */
function takeOver(fd: number, existing: Stats): void {
  try {
    fchownSync(fd, existing.uid, existing.gid);
  } catch {
    // Only root may give a file away; then it belongs to whoever wrote it.
  }
  fchmodSync(fd, existing.mode & 0o777);
}

/** The file behind symbolic links; the name itself if nothing is there yet. */
function resolveLinks(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return join(resolveFolder(dirname(path)), basename(path));
  }
}

function resolveFolder(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function statIfThere(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Somebody else has taken it away, or the folder is gone: either way nothing more can be done.
  }
}

function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Whether -o names a file: none, an empty one and "-" are standard output. */
export function namesFile(output: string | undefined): output is string {
  return output !== undefined && output !== '' && output !== '-';
}
