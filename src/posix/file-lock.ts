import { closeSync, openSync } from 'node:fs';
import { lastError, systemCalls } from './system-calls.ts';

const shared = 1;
const exclusive = 2;
const notBlocking = 4;

/** A lock that the kernel keeps on a file (flock(2)) and lets go of when the process ends, however it ends. */
export class FileLock {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * The lock on the file at this path, which is made if it is missing; undefined if somebody has it, in this process or
   * another. Throws SystemCallError or an error of Node's fs.
   */
  static take(path: string): FileLock | undefined {
    return FileLock.#lock(path, exclusive);
  }

  /** As `take`, but any number may have it together; undefined if somebody has it alone. */
  static share(path: string): FileLock | undefined {
    return FileLock.#lock(path, shared);
  }

  static #lock(path: string, operation: number): FileLock | undefined {
    const fd = openSync(path, 'a', 0o600);
    if (systemCalls().flock(fd, operation | notBlocking) === 0) return new FileLock(fd);
    const error = lastError('flock');
    closeSync(fd);
    if (error.code === 'EWOULDBLOCK' || error.code === 'EAGAIN') return undefined;
    throw error;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
