import { closeSync, fdatasyncSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { SalvageError } from '../../errors/salvage-error.ts';
import { FileLock } from '../../posix/file-lock.ts';
import type { ServeQuota } from '../../storage/serve/served.ts';

/** How often a lock is asked for that another process holds for microseconds. */
const mostAttempts = 1000;

/**
 * How many bytes a folder holds, in a file that all connections to it share, under a kernel lock while it is read and
 * written. A process that is killed leaves what it had reserved: whoever is alone next counts anew, with `set`.
 */
export class UsageLedger implements ServeQuota {
  readonly #lockPath: string;
  readonly #fd: number;
  readonly #quotaBytes: number;

  constructor(folder: string, quotaBytes: number) {
    this.#lockPath = join(folder, 'usage-lock');
    this.#fd = openSync(join(folder, 'usage'), 'a+', 0o600);
    closeSync(this.#fd);
    this.#fd = openSync(join(folder, 'usage'), 'r+');
    this.#quotaBytes = quotaBytes;
  }

  /** Says how much there is. */
  set(usedBytes: number): void {
    using _lock = this.#lock();
    this.#write(usedBytes);
    fdatasyncSync(this.#fd);
  }

  reserve(bytes: number): boolean {
    using _lock = this.#lock();
    const used = this.#read() + bytes;
    if (used > this.#quotaBytes) return false;
    this.#write(used);
    return true;
  }

  release(bytes: number): void {
    if (bytes === 0) return;
    using _lock = this.#lock();
    this.#write(Math.max(0, this.#read() - bytes));
  }

  close(): void {
    closeSync(this.#fd);
  }

  #lock(): FileLock {
    for (let attempt = 0; attempt < mostAttempts; attempt++) {
      const lock = FileLock.take(this.#lockPath);
      if (lock) return lock;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
    throw new SalvageError('failed', `Cannot keep the quota: "${this.#lockPath}" stays locked`);
  }

  #read(): number {
    const bytes = Buffer.alloc(8);
    if (readSync(this.#fd, bytes, 0, 8, 0) < 8) return 0;
    return Number(bytes.readBigUInt64LE());
  }

  #write(usedBytes: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(usedBytes));
    writeSync(this.#fd, bytes, 0, 8, 0);
  }
}
