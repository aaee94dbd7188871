import { SalvageError } from '../../errors/salvage-error.ts';
import type { Extent } from '../../posix/file-entry.ts';
import { limits } from '../../repository/limits.ts';
import { countRanges, rangeLength, type ContentRanges } from '../../repository/tree/content-ranges.ts';
import type { TreeRecord } from '../../repository/tree/tree-decoder.ts';

/** A part of a blob and where in the file it belongs. */
export interface Piece {
  /** In the blob. */
  readonly start: number;
  readonly length: number;
  /** In the file. */
  readonly position: number;
}

/** Range `index` of `ranges` belongs at `position`, in one piece unless `pieces` are given: then a hole divides it. */
export type PlaceRange = (
  ranges: ContentRanges,
  index: number,
  position: number,
  pieces: readonly Piece[] | undefined,
) => void;

const mostHoles = 1_048_576;

/**
 * Finds out where the ranges of one file belong: they hold, one after the other, everything outside its holes. Feed it
 * the file's lines in order. Ranges whose place depends on holes of later lines wait for those.
 */
export class ContentLayout {
  readonly #path: Buffer;
  #position = 0;
  #holes: Extent[] = [];
  #nextHole = 0;
  #waiting: ContentRanges[] = [];

  constructor(path: Buffer) {
    this.#path = path;
  }

  /** @throws damaged for holes that a writer would have named earlier, or more than any file has */
  add({ ranges, holes }: TreeRecord, place: PlaceRange): void {
    if (holes.length > 0) this.#addHoles(holes);
    if (ranges.length > 0) this.#waiting.push(ranges);
    // A line full of holes may be followed by one with more.
    if (holes.length === limits.holesPerLine) return;
    for (const waiting of this.#waiting) this.#place(waiting, place);
    this.#waiting = [];
  }

  /** To be called after the last line. */
  finish(place: PlaceRange): void {
    for (const waiting of this.#waiting) this.#place(waiting, place);
    this.#waiting = [];
  }

  #addHoles(holes: readonly Extent[]): void {
    if (this.#nextHole > 0) {
      this.#holes = this.#holes.slice(this.#nextHole);
      this.#nextHole = 0;
    }
    if (holes[0]![0] < this.#position || this.#holes.length + holes.length > mostHoles)
      throw new SalvageError(
        'damaged',
        `Cannot place the content of "${this.#path.toString()}": its holes are out of order or too many`,
      );
    this.#holes.push(...holes);
  }

  #place(ranges: ContentRanges, place: PlaceRange): void {
    const count = countRanges(ranges);
    for (let index = 0; index < count; index++) {
      const length = rangeLength(ranges, index);
      this.#skipHole();
      const hole = this.#holes[this.#nextHole];
      if (!hole || this.#position + length <= hole[0]) {
        place(ranges, index, this.#position, undefined);
        this.#position += length;
      } else place(ranges, index, this.#position, this.#divide(length));
    }
  }

  #divide(length: number): Piece[] {
    const pieces: Piece[] = [];
    for (let start = 0; start < length;) {
      this.#skipHole();
      const hole = this.#holes[this.#nextHole];
      const room = hole ? hole[0] - this.#position : Infinity;
      const piece = { start, length: Math.min(length - start, room), position: this.#position };
      pieces.push(piece);
      start += piece.length;
      this.#position += piece.length;
    }
    return pieces;
  }

  #skipHole(): void {
    const hole = this.#holes[this.#nextHole];
    if (hole?.[0] !== this.#position) return;
    this.#position += hole[1];
    this.#nextHole++;
  }
}

/** How many bytes of the file a line tells of, holes included. */
export function contentBytes({ ranges, holes }: TreeRecord): number {
  let bytes = 0;
  for (let index = 0; index < countRanges(ranges); index++) bytes += rangeLength(ranges, index);
  for (const [, length] of holes) bytes += length;
  return bytes;
}
