import { closeSync, fstatSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';

export interface LogFile {
  readonly path: string;
  /** A new file is begun before this one grows beyond it. */
  readonly maxBytes: number;
  /** So many old ones are kept, as PATH.1 (the youngest), PATH.2 and so on. */
  readonly keep: number;
}

/**
 * Adds a line, in one write to the end of the file, so that lines of several processes stay whole. Of two that begin a new file
 * at the same moment one begins it a line too early; nothing is lost. @throws what Node's fs throws
 */
export function appendToLog({ path, maxBytes, keep }: LogFile, line: string): void {
  const bytes = Buffer.from(`${line}\n`);
  let fd = openSync(path, 'a', 0o640);
  try {
    const { size, isFile } = describe(fd);
    // A terminal, a pipe or /dev/null has no size that grows.
    if (isFile && size > 0 && size + bytes.length > maxBytes) {
      closeSync(fd);
      fd = -1;
      rotate(path, keep);
      fd = openSync(path, 'a', 0o640);
    }
    for (let offset = 0; offset < bytes.length;)
      offset += writeSync(fd, bytes, offset, bytes.length - offset);
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

function describe(fd: number): { readonly size: number; readonly isFile: boolean } {
  const status = fstatSync(fd);
  return { size: status.size, isFile: status.isFile() };
}

function rotate(path: string, keep: number): void {
  const nameOf = (number: number): string => (number === 0 ? path : `${path}.${number}`);
  if (keep === 0) return rmSync(path, { force: true });
  for (let number = keep - 1; number >= 0; number--) renameIfThere(nameOf(number), nameOf(number + 1));
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
