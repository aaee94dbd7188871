import { writevSync } from 'node:fs';
import { systemError } from './system-error.ts';

/** The kernel takes so many parts at once (IOV_MAX). */
const mostParts = 1024;

/** Appends all parts to an open file, one after the other, without joining them. `name` is for the error. @throws failed */
export function writeParts(fd: number, parts: readonly Uint8Array[], name: string): void {
  for (let start = 0; start < parts.length; start += mostParts) {
    let left = parts.slice(start, start + mostParts).filter((part) => part.length > 0);
    while (left.length > 0) {
      try {
        left = dropBytes(left, writevSync(fd, left));
      } catch (cause) {
        throw systemError(`write "${name}"`, cause);
      }
    }
  }
}

function dropBytes(parts: Uint8Array[], count: number): Uint8Array[] {
  let index = 0;
  let left = count;
  while (index < parts.length && left >= parts[index]!.length) left -= parts[index++]!.length;
  return left === 0 ? parts.slice(index) : [parts[index]!.subarray(left), ...parts.slice(index + 1)];
}
