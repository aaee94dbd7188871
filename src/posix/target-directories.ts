import { SalvageError } from '../errors/salvage-error.ts';
import { DirectoryCache, type OpenDirectory } from './directory-cache.ts';
import type { FileEntry } from './file-entry.ts';
import { FileStatus, readStatus } from './file-status.ts';
import { NameBuffer } from './name-buffer.ts';
import { stateOf } from './system-call-error.ts';
import { errno, flag, lastError, systemCalls } from './system-calls.ts';
import { givesAcl, type TargetMetadata } from './target-metadata.ts';
import { showPath } from './target-path.ts';
import type { TargetProblem } from './target-problem.ts';

export interface TargetDirectoriesOptions {
  readonly metadata: TargetMetadata;
  /** As in TargetOptions. */
  readonly settle: 'as-left' | 'by-caller';
  readonly madeSinceNs: bigint;
  readonly onProblem: (problem: TargetProblem) => void;
}

interface Pending {
  /** latin1. */
  readonly path: string;
  /** What the directory is to become; without it, it only gets back the time it had when we came to it again. */
  readonly entry: FileEntry | undefined;
  readonly mtimeNs: bigint;
}

const openDirectories = 256;
const directoryFlags = flag.readOnly | flag.directory | flag.noFollow | flag.closeOnExec;
/** How far up to look for a directory that is open already. */
const ancestorsTried = 64;

/**
 * The directories of a target: every one is opened below its parent and never through a symlink, and gets its owner, mode
 * and time when nothing more comes into it. Paths are below the root, as latin1 strings; '' is the root itself.
 */
export class TargetDirectories {
  readonly #calls = systemCalls();
  readonly #options: TargetDirectoriesOptions;
  readonly #root: OpenDirectory;
  readonly #cache = new DirectoryCache(openDirectories);
  readonly #name = new NameBuffer();
  readonly #status = new FileStatus();
  readonly #pending: Pending[] = [];

  /** Takes over the descriptor of the root. */
  constructor(root: number, options: TargetDirectoriesOptions) {
    this.#options = options;
    this.#root = describeDirectory(root, '', readStatus(root, this.#status));
  }

  /** A directory below the root, opened part by part. With `toWrite` it is made if it is not there. @throws failed */
  open(path: string, toWrite: boolean): OpenDirectory {
    if (path === '') return this.#root;
    const known = this.#cache.get(path);
    if (known) return known;
    let directory = this.#root;
    let cut = path.lastIndexOf('/');
    for (let tried = 0; cut > 0 && tried < ancestorsTried; tried++, cut = path.lastIndexOf('/', cut - 1)) {
      const ancestor = this.#cache.get(path.slice(0, cut));
      if (!ancestor) continue;
      directory = ancestor;
      break;
    }
    let start = directory === this.#root ? 0 : directory.path.length + 1;
    while (start < path.length) {
      const slash = path.indexOf('/', start);
      const end = slash < 0 ? path.length : slash;
      directory = this.#openBelow(directory, path.slice(start, end), path.slice(0, end), toWrite);
      start = end + 1;
    }
    return directory;
  }

  /** The directory becomes what the entry says, unless the caller settles directories, when it is left. */
  await(path: string, entry: FileEntry): void {
    if (this.#options.settle === 'as-left') this.settleLater(path, entry);
  }

  /** The directory becomes what the entry says when it is left. */
  settleLater(path: string, entry: FileEntry): void {
    this.#pending.push({ path, entry, mtimeNs: 0n });
  }

  /** Something comes into this directory next: those that wait and do not have it in them are left. */
  leaveFor(path: string): void {
    while (this.#pending.length > 0 && !contains(this.#pending.at(-1)!.path, path))
      this.#settle(this.#pending.pop()!);
  }

  /** The directory is gone, and the paths of all below it may soon mean something else. */
  removeBelow(path: string): void {
    this.#cache.removeBelow(path);
  }

  /** Settles what waits for it and closes everything. */
  close(): void {
    while (this.#pending.length > 0) this.#settle(this.#pending.pop()!);
    this.#cache.clear();
    this.#calls.close(this.#root.fd);
  }

  #openBelow(parent: OpenDirectory, name: string, path: string, toWrite: boolean): OpenDirectory {
    const address = this.#name.latin1(name);
    let fd = this.#calls.openat(parent.fd, address, directoryFlags, 0);
    let isNew = false;
    if (fd < 0 && toWrite && this.#calls.errno() === errno.ENOENT) {
      isNew = this.#calls.mkdirat(parent.fd, address, 0o777) === 0;
      fd = this.#calls.openat(parent.fd, address, directoryFlags, 0);
    }
    if (fd < 0) {
      const cause = lastError('openat');
      const isOther = cause.code === 'ENOTDIR' || cause.code === 'ELOOP';
      const state = isOther ? 'something that is not a directory is in its place' : stateOf(cause);
      const shown = showPath(Buffer.from(path, 'latin1'));
      throw new SalvageError('failed', `Cannot write into the directory "${shown}": ${state}`, { cause });
    }
    const directory = describeDirectory(fd, path, readStatus(fd, this.#status));
    this.#cache.add(directory);
    if (toWrite && !isNew && this.#options.settle === 'as-left') this.#noteReturn(path);
    return directory;
  }

  // Into a directory that was settled already, because entries do not come in walk order: it gets its time back.
  #noteReturn(path: string): void {
    const status = this.#status;
    if (status.ctimeNs < this.#options.madeSinceNs || this.#pending.some((pending) => pending.path === path))
      return;
    const after = this.#pending.findIndex((pending) => pending.path.length > path.length);
    const pending = { path, entry: undefined, mtimeNs: status.mtimeNs };
    this.#pending.splice(after < 0 ? this.#pending.length : after, 0, pending);
  }

  #settle({ path, entry, mtimeNs }: Pending): void {
    try {
      const { fd } = this.open(path, false);
      if (entry) this.#options.metadata.applyToExisting(fd, entry);
      else this.#options.metadata.setTime(fd, mtimeNs);
    } catch (cause) {
      const shown = Buffer.from(path, 'latin1');
      this.#options.onProblem({ path: shown, what: 'owner, mode and time', message: stateOf(cause), cause });
    }
    // So that whoever comes again opens it again, and is noticed.
    this.#cache.remove(path);
  }
}

function describeDirectory(fd: number, path: string, status: FileStatus): OpenDirectory {
  return { fd, path, gid: status.gid, givesAcl: givesAcl(fd) };
}

/** True if `path` is the directory or below it. */
function contains(directory: string, path: string): boolean {
  if (directory === '') return true;
  if (!path.startsWith(directory)) return false;
  return path.length === directory.length || path.charCodeAt(directory.length) === 0x2f;
}
