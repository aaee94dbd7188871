import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  unlinkSync,
  writeSync,
  type Stats,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { getSystemErrorMessage } from 'node:util';
import { toHex } from '../bytes/bytes.ts';
import { randomBytes } from '../clock/random.ts';
import { SalvageError } from '../errors/salvage-error.ts';

const groupAndOthersBits = 0o077;
const othersBits = 0o007;

/**
 * Writes a new file, with its folder (mode 0700) if that is missing. The file appears under its name whole and synced,
 * or not at all, and never in the place of another one.
 * @throws bad-key if something has that name; failed if it cannot be written
 */
export function writeNewKeyFile(
  path: string,
  content: string | Uint8Array,
  mode: 0o600 | 0o644 = 0o600,
): void {
  const folder = dirname(path);
  const temporaryPath = join(folder, `.salvage-${toHex(randomBytes(8))}.partial`);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const fd = openSync(temporaryPath, 'wx', mode);
    try {
      writeAll(fd, typeof content === 'string' ? Buffer.from(content) : content);
      fsyncSync(fd);
      // Unlike rename, link fails if the name is taken.
      linkSync(temporaryPath, path);
    } finally {
      closeSync(fd);
      unlinkSync(temporaryPath);
    }
    syncFolder(folder);
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && syscall === 'link')
      throw new SalvageError('bad-key', `Cannot write the key "${path}": there is a file already`, {
        hint: 'A key is never overwritten: give another name, or move the old one away.',
        cause: error,
      });
    throw systemError(`write the key "${path}"`, error);
  }
}

/**
 * The bytes of a private key or identity file. A regular file must be its owner's alone; pipes and the like, which a
 * shell hands over, are taken as they are, and a service manager may have given a file of root's to our group.
 * @throws bad-key if others may read or write it, or if it is longer than maxBytes; failed if it cannot be read
 */
export function readSecretFile(path: string, maxBytes: number): Uint8Array {
  return readKeyFile(path, maxBytes, () => true);
}

/** The bytes of a public file, whatever its mode. @throws bad-key if it is longer than maxBytes; failed */
export function readPublicFile(path: string, maxBytes: number): Uint8Array {
  return readKeyFile(path, maxBytes, () => false);
}

/** For a file that is public or secret: whether `readSecretFile`'s rule applies is told by its content. */
export function readKeyFile(
  path: string,
  maxBytes: number,
  isSecret: (content: Uint8Array) => boolean,
): Uint8Array {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    const buffer = Buffer.alloc(maxBytes + 1);
    let length = 0;
    for (let got = -1; got !== 0 && length <= maxBytes; length += got)
      got = readSync(fd, buffer, length, buffer.length - length, null);
    if (length > maxBytes)
      throw new SalvageError('bad-key', `Cannot use the file "${path}": it is longer than ${maxBytes} bytes`);
    const content = buffer.subarray(0, length);
    if (isSecret(content)) checkMode(path, fstatSync(fd));
    return content;
  } catch (error) {
    throw error instanceof SalvageError ? error : systemError(`read "${path}"`, error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** The rule of `readSecretFile`, for who has read the file. @throws bad-key */
export function checkMode(path: string, status: Stats): void {
  const forbidden = status.uid === process.getuid?.() ? groupAndOthersBits : othersBits;
  if (!status.isFile() || (status.mode & forbidden) === 0) return;
  const mode = (status.mode & 0o7777).toString(8).padStart(4, '0');
  throw new SalvageError(
    'bad-key',
    `Cannot use the private key "${path}": its mode ${mode} lets others at it`,
    {
      hint: `Run: chmod 600 "${path}"`,
    },
  );
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let offset = 0; offset < bytes.length;) offset += writeSync(fd, bytes, offset);
}

function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function systemError(attempt: string, cause: unknown): SalvageError {
  const { errno, message } = cause as NodeJS.ErrnoException;
  const state = errno === undefined ? message : getSystemErrorMessage(errno);
  return new SalvageError('failed', `Cannot ${attempt}: ${state}`, { cause });
}
