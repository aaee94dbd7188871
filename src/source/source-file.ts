import { readSync } from 'node:fs';
import { readXattrs } from '../posix/extended-attributes.ts';
import type { Extent } from '../posix/file-entry.ts';
import { FileStatus } from '../posix/file-status.ts';
import { findHoles } from '../posix/holes.ts';
import { NameBuffer } from '../posix/name-buffer.ts';
import { at, errno, flag, lastError, systemCalls } from '../posix/system-calls.ts';
import { SystemCallError } from '../posix/system-call-error.ts';

/** What the walk knew of a file, to recognise it by; plain numbers, so that it passes between threads. */
export interface KnownFile {
  readonly fileSystem: number;
  readonly inode: number;
}

const flags = flag.readOnly | flag.noFollow | flag.nonBlock | flag.closeOnExec;

/**
 * A regular file of the sources, open for reading. One SourceFile serves any number of files, one after the other,
 * without garbage: `open`, `read` to the end, `changes`, `close`.
 *
 * Nothing is trusted to be still what the walk saw: a symlink, a fifo or another file in its place is refused, the
 * access time is left alone where that is allowed, and `changes` tells whether the content stood still.
 */
export class SourceFile {
  readonly #calls = systemCalls();
  readonly #name = new NameBuffer();
  readonly #after = new FileStatus();
  #fd = -1;
  /** Of the file when it was opened. */
  readonly status: FileStatus = new FileStatus();

  get fd(): number {
    return this.#fd;
  }

  /**
   * Opens the file at a path on this machine (a latin1 string, one character per byte). With `known` it must be the
   * very file that the walk saw. Throws SystemCallError: ENOENT if it is gone, ELOOP or ESTALE if something else has
   * taken its place, else what the kernel says.
   */
  open(realPath: string, known?: KnownFile): void {
    this.#fd = this.#openPath(realPath);
    const { status } = this;
    const reason = !status.readFd(this.#fd)
      ? this.#calls.errno()
      : !status.isFile || (known && (known.inode !== status.inode || known.fileSystem !== status.fileSystem))
        ? errno.ESTALE
        : 0;
    if (reason === 0) return;
    this.close();
    throw new SystemCallError('open', reason);
  }

  /** Fills `into` from the given position and answers how many bytes there were; 0 at the end. */
  read(into: Uint8Array, position: number): number {
    return readSync(this.#fd, into, 0, into.length, position);
  }

  /** Extended attributes, POSIX ACLs among them. */
  xattrs(): ReadonlyMap<string, Buffer> | undefined {
    return readXattrs(this.#fd);
  }

  /** The holes of the file. Costs nothing for a file that has all its blocks. */
  holes(): readonly Extent[] {
    const { size, blocks } = this.status;
    return blocks * 512 < size ? findHoles(this.#fd, size) : [];
  }

  /** What happened to the content since `open`, for a person; undefined if it stood still. */
  changes(): string | undefined {
    const { status } = this;
    const after = this.#after;
    if (!after.readFd(this.#fd)) return lastError('statx').message;
    if (after.size < status.size)
      return `it shrank from ${status.size} to ${after.size} bytes while it was read`;
    if (after.size > status.size)
      return `it grew from ${status.size} to ${after.size} bytes while it was read`;
    // The ctime too: who writes and then sets the mtime back is seen all the same.
    const same =
      after.mtimeSeconds === status.mtimeSeconds &&
      after.mtimeNanoseconds === status.mtimeNanoseconds &&
      after.ctimeSeconds === status.ctimeSeconds &&
      after.ctimeNanoseconds === status.ctimeNanoseconds;
    if (same) return undefined;
    return 'it was changed while it was read';
  }

  close(): void {
    if (this.#fd >= 0) this.#calls.close(this.#fd);
    this.#fd = -1;
  }

  #openPath(realPath: string): number {
    const { openat, errno: reason, close } = this.#calls;
    let directory: number = at.currentDirectory;
    let rest = realPath;
    // The kernel takes no path of 4,096 bytes or more: go the first part of the way by a directory's descriptor.
    while (rest.length > longestPath) {
      const cut = rest.lastIndexOf('/', longestPath);
      const fd = openat(directory, this.#name.latin1(rest.slice(0, Math.max(cut, 1))), onTheWay, 0);
      const failure = reason();
      if (directory >= 0) close(directory);
      if (fd < 0) throw new SystemCallError('openat', failure);
      directory = fd;
      rest = rest.slice(cut + 1);
    }
    const address = this.#name.latin1(rest);
    let fd = openat(directory, address, flags | flag.noAtime, 0);
    // Only the owner and root may leave the access time alone.
    if (fd < 0 && reason() === errno.EPERM) fd = openat(directory, address, flags, 0);
    const failure = fd < 0 ? reason() : 0;
    if (directory >= 0) close(directory);
    if (fd < 0) throw new SystemCallError('openat', failure);
    return fd;
  }
}

const longestPath = 4_000;
const onTheWay = flag.path | flag.directory | flag.closeOnExec;
