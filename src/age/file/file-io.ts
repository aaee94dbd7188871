import { fstatSync, read } from 'node:fs';
import { promisify } from 'node:util';
import { SalvageError } from '../../errors/salvage-error.ts';

const readFromFd = promisify(read);

/** What encryptFile and decryptFile have in common. */
export interface FileOptions {
  /** Read from its present position to its end. Not closed. */
  readonly inputFd: number;
  /**
   * Called once, when the first byte of output is certain to be good: no output comes into being for a wrong key or a file
   * that is not an age file. Not closed.
   */
  readonly openOutput: () => number;
  /** At most so many threads; by default as many as the processor has, up to four. */
  readonly threads?: number;
  /** Called now and then with the plaintext bytes done so far. */
  readonly onProgress?: (bytesDone: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * The size of a regular file that may be read or written at any offset from 0 on, or undefined if the descriptor must be
 * used in order: a pipe, a terminal, a file of unknown size as in /proc, and the standard streams, whose position is
 * shared with other processes.
 */
export function positionalSize(fd: number): number | undefined {
  if (fd <= 2) return undefined;
  const stat = fstatSync(fd);
  return stat.isFile() ? stat.size : undefined;
}

/** What there is up to `length` bytes, without blocking this thread. Less only at the end of the input. */
export async function readStart(fd: number, length: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await readWhenReady(fd, buffer, filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

async function readWhenReady(fd: number, buffer: Uint8Array, offset: number): Promise<{ bytesRead: number }> {
  for (;;) {
    try {
      return await readFromFd(fd, buffer, offset, buffer.length - offset, null);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

/** The rest of the input in pieces. A piece is valid until the next one is asked for. */
export async function* readRest(fd: number): AsyncGenerator<Uint8Array, void, void> {
  const buffer = new Uint8Array(256 * 1024);
  for (;;) {
    const { bytesRead } = await readWhenReady(fd, buffer, 0);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Turns the failure of a system call into one that the user is told: a full disk, a broken pipe. */
export function explainSystemError(what: 'encrypt' | 'decrypt', error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (error instanceof SalvageError || typeof code !== 'string' || !/^E[A-Z0-9]+$/.test(code)) return error;
  return new SalvageError('failed', `Cannot ${what} the file: ${(error as Error).message}`, {
    details: { system: code },
    cause: error,
  });
}
