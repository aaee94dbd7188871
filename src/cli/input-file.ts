import { closeSync, fstatSync, openSync, read } from 'node:fs';
import { promisify } from 'node:util';
import type { CliContext } from './context.ts';
import { letSignalsKill } from './ending-signals.ts';
import { systemError } from './system-error.ts';

const readAsync = promisify(read);
const pieceBytes = 256 * 1024;

/** A file to read from its current position on, or standard input. */
export interface InputFile {
  readonly fd: number;
  /** For messages. */
  readonly name: string;
  readonly isTerminal: boolean;
  /** Bytes of a regular file that is read from its start; undefined for pipes, devices and standard input. */
  readonly sizeBytes: number | undefined;
  [Symbol.dispose](): void;
}

/**
 * Opens what an INPUT argument names; none, an empty one and "-" are standard input.
 * @throws failed if it cannot be opened or is a folder; usage if standard input already serves something else
 */
export function openInput(path: string | undefined, context: CliContext): InputFile {
  if (path === undefined || path === '' || path === '-') {
    const { fd, isTerminal } = context.stdin;
    context.stdin.claim('the input');
    return { fd, name: 'standard input', isTerminal, sizeBytes: undefined, [Symbol.dispose]: () => {} };
  }
  const attempt = `read "${path}"`;
  let fd: number;
  try {
    fd = letSignalsKill(() => openSync(path, 'r'));
  } catch (cause) {
    throw systemError(attempt, cause);
  }
  const status = fstatSync(fd);
  if (status.isDirectory()) {
    closeSync(fd);
    throw systemError(attempt, new Error('it is a folder'));
  }
  return {
    fd,
    name: path,
    isTerminal: false,
    sizeBytes: status.isFile() ? status.size : undefined,
    [Symbol.dispose]: () => closeSync(fd),
  };
}

/**
 * The bytes of a file as they come. A piece is valid until the next one is asked for. A read that waits (pipe,
 * terminal) ends when the signal is aborted.
 * @throws failed; the signal's reason
 */
export async function* readPieces(input: InputFile, signal: AbortSignal): AsyncGenerator<Buffer, void, void> {
  const buffer = Buffer.allocUnsafeSlow(pieceBytes);
  const aborted = Promise.withResolvers<never>();
  // Handled here: nobody may be waiting at the moment it happens.
  aborted.promise.catch(() => {});
  const onAbort = (): void => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort);
  try {
    for (;;) {
      signal.throwIfAborted();
      const bytesRead = await Promise.race([readSome(input, buffer), aborted.promise]);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function readSome(input: InputFile, buffer: Buffer): Promise<number> {
  for (;;) {
    try {
      const { bytesRead } = await readAsync(input.fd, buffer, 0, buffer.length, null);
      return bytesRead;
    } catch (cause) {
      // Somebody who shares this pipe has made it non-blocking, and it is empty.
      if ((cause as NodeJS.ErrnoException).code !== 'EAGAIN')
        throw systemError(`read ${quoteName(input)}`, cause);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

function quoteName({ fd, name }: InputFile): string {
  return fd === 0 ? name : `"${name}"`;
}
