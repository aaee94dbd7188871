import { SalvageError } from '../errors/salvage-error.ts';

const slash = 0x2f;
const dot = 0x2e;
const longestPath = 65_535;
const longestName = 255;

/**
 * Checks a path out of an archive or snapshot, which may be hostile: relative, parts joined by single slashes, no part
 * empty, `.` or `..` or longer than 255 bytes, no NUL. Answers where its last slash is, or -1. Throws 'damaged'.
 */
export function checkTargetPath(path: Uint8Array): number {
  const { length } = path;
  if (length === 0) return refuse(path, 'it is empty');
  if (length > longestPath) return refuse(path, `it is ${length} bytes long`);
  let start = 0;
  for (let index = 0; index <= length; index++) {
    const byte = index === length ? slash : path[index]!;
    if (byte === 0) return refuse(path, 'it holds a NUL byte');
    if (byte !== slash) continue;
    const partLength = index - start;
    if (partLength === 0) return refuse(path, start === 0 ? 'it is absolute' : 'it has an empty part');
    if (partLength > longestName) return refuse(path, 'one of its parts is longer than 255 bytes');
    if (path[start] === dot && (partLength === 1 || (partLength === 2 && path[start + 1] === dot)))
      return refuse(path, 'it holds a part "." or ".."');
    start = index + 1;
  }
  for (let index = length - 1; index >= 0; index--) if (path[index] === slash) return index;
  return -1;
}

function refuse(path: Uint8Array, state: string): never {
  throw new SalvageError('damaged', `Cannot restore "${showPath(path)}": ${state}`, {
    hint: 'No honest program writes such a path; nothing was made for it.',
  });
}

/** A path for a message: cut where it is very long. */
export function showPath(path: Uint8Array): string {
  const text = Buffer.from(path.buffer, path.byteOffset, Math.min(path.length, 1000)).toString();
  return path.length > 1000 ? `${text}…` : text;
}
