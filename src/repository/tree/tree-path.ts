import { limits } from '../limits.ts';

const slash = 0x2f;
const dot = 0x2e;

/**
 * True for what a tree segment may have as a path: parts joined by '/', none of them empty, '.' or '..', no NUL, at most
 * 65,535 bytes.
 */
export function isTreePath(path: Uint8Array): boolean {
  if (path.length === 0 || path.length > limits.path) return false;
  let start = 0;
  for (let at = 0; at <= path.length; at++) {
    const byte = at < path.length ? path[at]! : slash;
    if (byte === 0) return false;
    if (byte !== slash) continue;
    const length = at - start;
    if (length === 0 || (path[start] === dot && (length === 1 || (length === 2 && path[start + 1] === dot))))
      return false;
    start = at + 1;
  }
  return true;
}

/**
 * The order of entries in a tree: depth first, names of one directory in byte order, a directory before what is in it.
 * That is byte order with '/' before every other byte. Negative if `a` comes first, 0 if they are the same path.
 */
export function compareTreePaths(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const byteA = a[at]!;
    const byteB = b[at]!;
    if (byteA !== byteB) {
      if (byteA === slash) return -1;
      return byteB === slash ? 1 : byteA - byteB;
    }
  }
  return a.length - b.length;
}

/** True if `path` lies below `directory`. */
export function isBelow(path: Uint8Array, directory: Uint8Array): boolean {
  if (path.length <= directory.length || path[directory.length] !== slash) return false;
  for (let at = 0; at < directory.length; at++) if (path[at] !== directory[at]) return false;
  return true;
}
