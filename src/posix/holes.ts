import type { Extent } from './file-entry.ts';
import { errno, seek, systemCalls } from './system-calls.ts';

/** A file may have billions of holes: beyond so many the rest counts as data, which costs space and loses nothing. */
const mostHoles = 65_536;

/**
 * The holes of an open file of the given size, ascending, not touching; none where the file system does not tell.
 * Moves the file's offset, so read it by position.
 */
export function findHoles(fd: number, size: number): readonly Extent[] {
  const calls = systemCalls();
  const holes: Extent[] = [];
  let position = 0;
  while (position < size && holes.length < mostHoles) {
    const hole = calls.lseek(fd, position, seek.hole);
    if (hole < 0 || hole >= size) break;
    let data = calls.lseek(fd, hole, seek.data);
    if (data < 0) {
      // ENXIO: no data after this hole.
      if (calls.errno() !== errno.ENXIO) break;
      data = size;
    }
    data = Math.min(data, size);
    if (data > hole) holes.push([hole, data - hole]);
    position = Math.max(data, hole + 1);
  }
  return holes;
}

/** What lies between the holes: the ranges of a file of the given size that hold data. */
export function* dataExtents(size: number, holes: readonly Extent[]): Generator<Extent> {
  let position = 0;
  for (const [offset, length] of holes) {
    if (offset > position) yield [position, offset - position];
    position = offset + length;
  }
  if (position < size) yield [position, size - position];
}
