import { hash } from 'node:crypto';
import { Chunker, maxBlobBytes, wholeFileBytes } from '../../chunker/chunker.ts';
import type { BlobTable } from '../../repository/cache/blob-table.ts';
import type { FinishedPack, PackWriter } from '../../repository/pack/pack-writer.ts';
import { rangeBytes, writeRange } from '../../repository/tree/content-ranges.ts';

/** Fills `into` with what comes next and says how many bytes there were; 0 at the end. */
export type ReadContent = (into: Uint8Array) => number;

/** A pack to fill and its number in the run. */
export interface OpenPack {
  readonly number: number;
  readonly writer: PackWriter;
}

export interface ContentStoreOptions {
  readonly chunkerSeed: Uint8Array;
  readonly blobs: BlobTable;
  /** Waits until another pack may be filled. */
  readonly openPack: () => OpenPack;
  readonly closePack: (number: number, pack: FinishedPack) => void;
}

const bufferBytes = 2 * maxBlobBytes;

/**
 * Turns content into ranges: cuts it into blobs, drops those that are stored already and puts the others into packs.
 * Synchronous; one buffer serves all content.
 */
export class ContentStore {
  readonly #options: ContentStoreOptions;
  readonly #chunker: Chunker;
  readonly #buffer: Buffer = Buffer.allocUnsafeSlow(bufferBytes);
  #pack: OpenPack | undefined;
  #ranges: Buffer = Buffer.allocUnsafeSlow(rangeBytes * 256);
  #rangeCount = 0;
  /** Content bytes so far, and those of them that were stored. */
  bytesRead = 0;
  bytesNew = 0;

  constructor(options: ContentStoreOptions) {
    this.#options = options;
    this.#chunker = new Chunker(options.chunkerSeed);
  }

  /** Ranges since the last `takeRanges`. */
  get rangeCount(): number {
    return this.#rangeCount;
  }

  /** The ranges since the last call, in memory of their own. */
  takeRanges(): Uint8Array<ArrayBuffer> {
    const taken = new Uint8Array(this.#ranges.subarray(0, this.#rangeCount * rangeBytes));
    this.#rangeCount = 0;
    return taken;
  }

  /** Forgets the ranges from number `count` on: of a file that could not be read to its end. */
  dropRanges(count: number): void {
    this.#rangeCount = count;
  }

  /** Stores content of any length. */
  add(read: ReadContent): void {
    const buffer = this.#buffer;
    let end = this.#fill(read, 0);
    if (end < bufferBytes && end <= wholeFileBytes) {
      if (end > 0) this.#addBlob(0, end);
      return;
    }
    for (;;) {
      const isEnd = end < bufferBytes;
      // A cut is certain only where the longest blob would still fit, or where the content ends.
      const cutBefore = isEnd ? end : end - maxBlobBytes + 1;
      let start = 0;
      while (start < cutBefore) {
        const length = this.#chunker.cut(buffer, start, end);
        this.#addBlob(start, length);
        start += length;
      }
      if (isEnd) return;
      buffer.copyWithin(0, start, end);
      end = this.#fill(read, end - start);
    }
  }

  /** Closes the pack that is being filled. */
  flush(): void {
    if (this.#pack && !this.#pack.writer.isEmpty) this.#closePack('last');
  }

  /** Fills the buffer from `end` on and answers where the bytes end: before the buffer does only at the end of the content. */
  #fill(read: ReadContent, end: number): number {
    while (end < bufferBytes) {
      const count = read(this.#buffer.subarray(end));
      if (count === 0) break;
      end += count;
    }
    return end;
  }

  #addBlob(start: number, length: number): void {
    const { blobs, openPack } = this.#options;
    const blob = this.#buffer.subarray(start, start + length);
    const digest = hash('sha256', blob, 'buffer');
    this.bytesRead += length;
    this.#pack ??= openPack();
    const { number, writer } = this.#pack;
    const known = blobs.claim(digest, number, writer.rawBytes, length);
    if (known) {
      this.#addRange(known.pack, known.offset, known.length, digest);
      return;
    }
    this.#addRange(number, writer.add(blob, digest), length, digest);
    this.bytesNew += length;
    if (writer.isFull) this.#closePack('full');
  }

  #closePack(padding: 'full' | 'last'): void {
    const { number, writer } = this.#pack!;
    this.#pack = undefined;
    this.#options.closePack(number, writer.finish(padding));
  }

  #addRange(pack: number, offset: number, length: number, digest: Uint8Array): void {
    if ((this.#rangeCount + 1) * rangeBytes > this.#ranges.length) {
      const larger = Buffer.allocUnsafeSlow(this.#ranges.length * 2);
      larger.set(this.#ranges);
      this.#ranges = larger;
    }
    writeRange(this.#ranges, this.#rangeCount++, pack, offset, length, digest);
  }
}
