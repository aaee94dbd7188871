import { closeSync, openSync, readSync } from 'node:fs';
import { allocate, errno, flag, lastError, systemCalls } from '../posix/system-calls.ts';
import type { Address } from '../posix/system-calls.ts';

const size = 262_144;
const dot = 0x2e;
const cacheSignature = 'Signature: 8a477f597d28d172789f06886806bc55';

/** Reads the names in directories through one reused buffer. */
export class DirectoryListing {
  readonly #bytes = allocate(size);
  readonly #address: Address = systemCalls().addressOf(this.#bytes);

  /** The names in an open directory as latin1 strings in byte order, without `.` and `..`. Throws SystemCallError. */
  read(fd: number): string[] {
    const { getdents64 } = systemCalls();
    const bytes = this.#bytes;
    const names: string[] = [];
    for (;;) {
      const filled = getdents64(fd, this.#address, size);
      if (filled < 0) throw lastError('getdents64');
      if (filled === 0) return names.sort();
      // struct linux_dirent64: inode 8, offset 8, record length 2, type 1, then the name and its NUL.
      for (let record = 0; record < filled;) {
        const start = record + 19;
        record += bytes[record + 16]! | (bytes[record + 17]! << 8);
        let end = start;
        while (bytes[end] !== 0) end++;
        const isDots =
          bytes[start] === dot && (end === start + 1 || (end === start + 2 && bytes[start + 1] === dot));
        if (!isDots) names.push(bytes.toString('latin1', start, end));
      }
    }
  }
}

const directoryFlags = flag.readOnly | flag.directory | flag.closeOnExec;

/** Opens a directory for listing, without touching its access time where that is allowed. Throws SystemCallError. */
export function openDirectory(parent: number, path: Address, follow: boolean): number {
  const { openat, errno: reason } = systemCalls();
  const flags = directoryFlags | (follow ? 0 : flag.noFollow);
  let fd = openat(parent, path, flags | flag.noAtime, 0);
  if (fd < 0 && reason() === errno.EPERM) fd = openat(parent, path, flags, 0);
  if (fd < 0) throw lastError('openat');
  return fd;
}

/** True if the directory holds a CACHEDIR.TAG with the signature of the specification (bford.info/cachedir). */
export function isCacheDirectory(fd: number): boolean {
  let tag: number;
  try {
    // Not to be caught waiting at a fifo of that name.
    tag = openSync(`/proc/self/fd/${fd}/CACHEDIR.TAG`, flag.readOnly | flag.noFollow | flag.nonBlock);
  } catch {
    return false;
  }
  try {
    const start = Buffer.alloc(cacheSignature.length);
    return (
      readSync(tag, start, 0, start.length, 0) === start.length && start.equals(Buffer.from(cacheSignature))
    );
  } catch {
    return false;
  } finally {
    closeSync(tag);
  }
}
