import type { Extent } from '../posix/file-entry.ts';
import { damagedTar, parseNumber } from './tar-header.ts';

/** No plausible file has more extents, and all of them must be held in memory. */
const maxExtents = 1_048_576;

/** The data of a sparse file as an archive lists it: where its stored bytes belong, in order. */
export class SparseMap {
  readonly extents: Extent[] = [];
  readonly #offset: number;
  #end = 0;
  #stored = 0;

  /** `offset` is the entry's place in the archive, for errors. */
  constructor(offset: number) {
    this.#offset = offset;
  }

  /** Bytes of data that the archive holds for this map. */
  get stored(): number {
    return this.#stored;
  }

  /** @throws SalvageError 'damaged' if the extents overlap, run backwards, overflow or are absurdly many. */
  add(start: number, length: number): void {
    if (
      !Number.isSafeInteger(start) ||
      !Number.isSafeInteger(length) ||
      !Number.isSafeInteger(start + length)
    ) {
      throw damagedTar(this.#offset, 'a sparse map holds an absurd number');
    }
    if (start < this.#end || length < 0)
      throw damagedTar(this.#offset, 'the extents of a sparse map overlap');
    if (this.extents.length > maxExtents) throw damagedTar(this.#offset, 'a sparse map is absurdly long');
    this.#end = start + length;
    this.#stored += length;
    if (length > 0) this.extents.push([start, length]);
  }

  /** The holes of a file of `size` bytes. @throws SalvageError 'damaged' if the data reaches beyond it. */
  holes(size: number): Extent[] {
    if (this.#end > size) throw damagedTar(this.#offset, 'a sparse map reaches beyond the end of its file');
    const holes: Extent[] = [];
    let position = 0;
    for (const [start, length] of this.extents) {
      if (start > position) holes.push([position, start - position]);
      position = start + length;
    }
    if (position < size) holes.push([position, size - position]);
    return holes;
  }

  /** The extents in a block of the old GNU format: up to `count` pairs of 12-byte numbers from `start` on. */
  addOldGnu(block: Buffer, start: number, count: number): void {
    for (let at = start; at < start + 24 * count; at += 24) {
      if (block[at] === 0) break;
      const position = parseNumber(block, [at, 12], 'sparse offset', this.#offset);
      this.add(position, parseNumber(block, [at + 12, 12], 'sparse length', this.#offset));
    }
  }

  /** The extents of pax sparse format 0.1 (GNU.sparse.map) and, joined the same way, 0.0: `offset,length,…`. */
  addList(text: string): void {
    if (text === '') return;
    const numbers = text.split(',');
    if (numbers.length % 2 !== 0) throw damagedTar(this.#offset, 'a sparse map is cut');
    for (let index = 0; index < numbers.length; index += 2) {
      this.add(parseDecimal(numbers[index]!), parseDecimal(numbers[index + 1]!));
    }
  }
}

/** A decimal number of pax; NaN if it is none, which every check on sizes refuses. */
export function parseDecimal(text: string): number {
  return /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
}
