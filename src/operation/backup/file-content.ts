import type { Extent } from '../../posix/file-entry.ts';
import { dataExtents } from '../../posix/holes.ts';
import type { SourceFile } from '../../source/source-file.ts';

/**
 * The data of an open file, without its holes, up to the size that it had when it was opened. A file that ends sooner
 * ends there.
 */
export class FileContent {
  readonly #file: SourceFile;
  readonly #extents: Iterator<Extent>;
  readonly #holes: readonly Extent[];
  #position = 0;
  #extentEnd = 0;
  #isCutShort = false;

  constructor(file: SourceFile) {
    this.#file = file;
    this.#holes = file.holes();
    this.#extents = dataExtents(file.status.size, this.#holes)[Symbol.iterator]();
  }

  /** See ReadContent. Throws what the file system says. */
  read(into: Uint8Array): number {
    if (this.#isCutShort) return 0;
    if (this.#position === this.#extentEnd) {
      const { done, value } = this.#extents.next();
      if (done) return 0;
      this.#position = value[0];
      this.#extentEnd = value[0] + value[1];
    }
    const left = this.#extentEnd - this.#position;
    const count = this.#file.read(into.length > left ? into.subarray(0, left) : into, this.#position);
    this.#position += count;
    this.#isCutShort = count === 0;
    return count;
  }

  /** Of what was read, holes included. */
  get size(): number {
    return this.#isCutShort ? this.#position : this.#file.status.size;
  }

  /** Those before the end of what was read. */
  get holes(): readonly Extent[] {
    const { size } = this;
    return this.#isCutShort ? this.#holes.filter(([offset]) => offset < size) : this.#holes;
  }
}
