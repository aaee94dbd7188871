import { spawn } from 'node:child_process';
import { closeSync, openSync, readSync } from 'node:fs';
import { SalvageError } from '../errors/salvage-error.ts';

const maxBytes = 64 * 1024;

/** Where a passphrase comes from when nobody is asked. Never the command line: arguments are visible to every process. */
export type PassphraseSource =
  | { readonly file: string }
  | { readonly fd: number }
  /** A line of sh, for a password manager: `pass show backup`. */
  | { readonly command: string };

/**
 * The passphrase: the first line of what the source holds, without its line end.
 * @throws bad-key if the source cannot be read, or if its first line is empty or not UTF-8
 */
export async function readPassphrase(source: PassphraseSource, signal: AbortSignal): Promise<string> {
  return await readSecretLine(source, 'passphrase', signal);
}

/** As `readPassphrase`, for a secret that is called `what`. */
export async function readSecretLine(
  source: PassphraseSource,
  what: string,
  signal: AbortSignal,
): Promise<string> {
  if ('file' in source) return firstLine(readFile(source.file, what), `the file "${source.file}"`, what);
  if ('fd' in source) return firstLine(readFd(source.fd, what), `file descriptor ${source.fd}`, what);
  return firstLine(await readCommand(source.command, what, signal), `the ${what} command`, what);
}

function readFile(path: string, what: string): Buffer {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    throw unreadable(`the file "${path}"`, what, cause);
  }
  try {
    return readUpToLimit(fd);
  } catch (cause) {
    throw unreadable(`the file "${path}"`, what, cause);
  } finally {
    closeSync(fd);
  }
}

function readFd(fd: number, what: string): Buffer {
  try {
    return readUpToLimit(fd);
  } catch (cause) {
    throw unreadable(`file descriptor ${fd}`, what, cause);
  }
}

/** To the end, or to one byte more than is allowed. */
function readUpToLimit(fd: number): Buffer {
  const buffer = Buffer.alloc(maxBytes + 1);
  let length = 0;
  for (let got = -1; got !== 0 && length < buffer.length; length += got)
    got = readSync(fd, buffer, length, buffer.length - length, null);
  return buffer.subarray(0, length);
}

async function readCommand(command: string, what: string, signal: AbortSignal): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  // Standard input may be the data. Standard error is the user's: the command may have something to say there.
  const child = spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'], signal });
  const chunks: Buffer[] = [];
  let length = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= maxBytes) chunks.push(chunk);
  });
  child.on('error', (cause) =>
    reject(signal.aborted ? (signal.reason as Error) : unreadable(`the ${what} command`, what, cause)),
  );
  child.on('close', (code, killedBy) => {
    if (code === 0) resolve(length > maxBytes ? Buffer.alloc(maxBytes + 1) : Buffer.concat(chunks));
    else
      reject(
        new SalvageError(
          'bad-key',
          `Cannot get the ${what}: the ${what} command ended with ${killedBy ?? `exit code ${code}`}`,
          { hint: 'run the command by itself to see why' },
        ),
      );
  });
  return promise;
}

function firstLine(bytes: Buffer, name: string, what: string): string {
  const end = bytes.indexOf(0x0a);
  if (end < 0 && bytes.length > maxBytes)
    throw new SalvageError('bad-key', `Cannot get the ${what} from ${name}: its first line is too long`);
  let line: string;
  try {
    line = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      bytes.subarray(0, end < 0 ? bytes.length : end),
    );
  } catch (cause) {
    throw new SalvageError('bad-key', `Cannot get the ${what} from ${name}: it is not UTF-8 text`, {
      cause,
    });
  }
  const secret = line.replace(/\r$/, '');
  if (secret === '')
    throw new SalvageError('bad-key', `Cannot get the ${what} from ${name}: its first line is empty`);
  return secret;
}

function unreadable(name: string, what: string, cause: unknown): SalvageError {
  return new SalvageError('bad-key', `Cannot get the ${what} from ${name}: ${(cause as Error).message}`, {
    cause,
  });
}
