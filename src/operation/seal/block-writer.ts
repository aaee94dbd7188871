import { blockBytes, compressBlock, type Compression } from '../../compression/compression.ts';

/** A batch is planned to fill one block; attributes and files that have grown may need a little more. */
const slackBytes = 256 << 10;

/** Gathers bytes into one reused buffer and compresses it whenever it is full. */
export class BlockWriter {
  readonly #compression: Compression;
  readonly #level: number;
  readonly #buffer = new Uint8Array(blockBytes + slackBytes);
  #used = 0;
  #blocks: Uint8Array<ArrayBuffer>[] = [];
  #total = 0;

  constructor(compression: Compression, level: number) {
    this.#compression = compression;
    this.#level = level;
  }

  add(bytes: Uint8Array): void {
    for (let offset = 0; offset < bytes.length;) {
      const space = this.space(bytes.length - offset);
      space.set(bytes.subarray(offset, offset + space.length));
      this.advance(space.length);
      offset += space.length;
    }
  }

  addZeros(length: number): void {
    for (let left = length; left > 0;) {
      const space = this.space(left);
      space.fill(0);
      this.advance(space.length);
      left -= space.length;
    }
  }

  /** Room for 1 to `most` bytes, to be filled; then `advance` says how many were. */
  space(most: number): Uint8Array {
    if (this.#used === this.#buffer.length) this.#compress();
    return this.#buffer.subarray(this.#used, Math.min(this.#buffer.length, this.#used + most));
  }

  advance(length: number): void {
    this.#used += length;
    this.#total += length;
  }

  /** All blocks since the last call, and how many bytes went into them. */
  take(): { blocks: Uint8Array<ArrayBuffer>[]; total: number } {
    if (this.#used > 0) this.#compress();
    const taken = { blocks: this.#blocks, total: this.#total };
    this.#blocks = [];
    this.#total = 0;
    return taken;
  }

  #compress(): void {
    this.#blocks.push(compressBlock(this.#compression, this.#level, this.#buffer.subarray(0, this.#used)));
    this.#used = 0;
  }
}
