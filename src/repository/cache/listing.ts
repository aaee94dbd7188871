import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { limits } from '../limits.ts';
import { noRanges, rangeBytes, type ContentRanges } from '../tree/content-ranges.ts';
import type { TreeLine } from '../tree/tree-line.ts';

// The listing of the last snapshot: one record per line of its tree, in tree order, and one record after the lines of each
// segment. Blocks of about 1 MiB, each with its length and CRC-32 before it; an empty block is the end. Little-endian:
//
//    0 u32 bytes of the record   4 u16 path   6 u8 kind   7 u8 endsAtBoundary   8 u32 head   12 u32 bytes of ranges
//   16 u32 mode   20 u32 zero   24 f64 size   32 f64 mtime seconds   40 f64 ctime seconds   48 f64 inode
//   56 u32 mtime nanoseconds   60 u32 ctime nanoseconds   64 path, head, ranges
const magic = Buffer.from('SLVGLST2');
const fixedBytes = 64;
const blockBytes = 1024 * 1024;
// The longest record fills a block of its own.
const largestBlockBytes: number =
  blockBytes + fixedBytes + limits.path + limits.line + limits.rangesPerLine * rangeBytes;
const kinds = ['entry', 'continuation', 'segment'] as const;

/** What tells whether a file is still the same (docs/design/format.md "Deduplication and the cache"). */
export interface FileState {
  /** As lstat gives it, with the type. */
  readonly mode: number;
  readonly size: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  readonly ctimeSeconds: number;
  readonly ctimeNanoseconds: number;
  /** Rounded above 2^53. */
  readonly inode: number;
}

const noState: FileState = {
  mode: 0,
  size: 0,
  mtimeSeconds: 0,
  mtimeNanoseconds: 0,
  ctimeSeconds: 0,
  ctimeNanoseconds: 0,
  inode: 0,
};

/** Appends the listing while a tree is written. */
export class ListingWriter {
  readonly #file: number;
  readonly #block: Buffer = Buffer.allocUnsafe(largestBlockBytes);
  #bytes = 0;

  /** @throws what the file system throws; a file that is there is an error */
  constructor(path: string) {
    this.#file = openSync(path, 'wx', 0o600);
    writeSync(this.#file, magic);
  }

  addEntry(line: TreeLine, state: FileState): void {
    this.#add(0, line.path, line.head, line.ranges, state, false);
  }

  addContinuation(line: TreeLine): void {
    this.#add(1, line.path, line.head, line.ranges, noState, false);
  }

  /** After the last line of a segment: where it is stored, as one range. */
  addSegment(location: ContentRanges, endsAtBoundary: boolean): void {
    this.#add(2, noRanges, noRanges, location, noState, endsAtBoundary);
  }

  /** Appends a record of another listing as it is. */
  copy({ bytes }: ListingRecord): void {
    if (this.#bytes > 0 && this.#bytes + bytes.length > blockBytes) this.#flush();
    this.#bytes += bytes.copy(this.#block, this.#bytes);
  }

  finish(): void {
    this.#flush();
    writeSync(this.#file, Buffer.alloc(8));
    closeSync(this.#file);
  }

  #add(
    kind: number,
    path: Buffer,
    head: string | Buffer,
    ranges: Buffer,
    state: FileState,
    flag: boolean,
  ): void {
    const headBytes = typeof head === 'string' ? Buffer.byteLength(head) : head.length;
    const recordBytes = fixedBytes + path.length + headBytes + ranges.length;
    if (this.#bytes > 0 && this.#bytes + recordBytes > blockBytes) this.#flush();
    const block = this.#block;
    const at = this.#bytes;
    block.writeUInt32LE(recordBytes, at);
    block.writeUInt16LE(path.length, at + 4);
    block[at + 6] = kind;
    block[at + 7] = flag ? 1 : 0;
    block.writeUInt32LE(headBytes, at + 8);
    block.writeUInt32LE(ranges.length, at + 12);
    block.writeUInt32LE(state.mode, at + 16);
    block.writeUInt32LE(0, at + 20);
    block.writeDoubleLE(state.size, at + 24);
    block.writeDoubleLE(state.mtimeSeconds, at + 32);
    block.writeDoubleLE(state.ctimeSeconds, at + 40);
    block.writeDoubleLE(state.inode, at + 48);
    block.writeUInt32LE(state.mtimeNanoseconds, at + 56);
    block.writeUInt32LE(state.ctimeNanoseconds, at + 60);
    let end = at + fixedBytes + path.copy(block, at + fixedBytes);
    end += typeof head === 'string' ? block.write(head, end) : head.copy(block, end);
    this.#bytes = end + ranges.copy(block, end);
  }

  #flush(): void {
    if (this.#bytes === 0) return;
    const block = this.#block.subarray(0, this.#bytes);
    const before = Buffer.alloc(8);
    before.writeUInt32LE(block.length, 0);
    before.writeUInt32LE(crc32(block), 4);
    writeSync(this.#file, before);
    writeSync(this.#file, block);
    this.#bytes = 0;
  }
}

/** One record of a listing: a view that stays good. Fields are read when asked for, since most runs ask for few. */
export class ListingRecord {
  readonly kind: (typeof kinds)[number];
  readonly path: Buffer;
  readonly #block: Buffer;
  readonly #at: number;

  constructor(block: Buffer, at: number) {
    this.#block = block;
    this.#at = at;
    this.kind = kinds[block[at + 6]!]!;
    this.path = block.subarray(at + fixedBytes, at + fixedBytes + block.readUInt16LE(at + 4));
  }

  /** The whole record. */
  get bytes(): Buffer {
    return this.#block.subarray(this.#at, this.#at + this.#block.readUInt32LE(this.#at));
  }

  /** Of an entry: true if nothing says that the file was touched since. */
  isUnchanged(state: FileState): boolean {
    const block = this.#block;
    const at = this.#at;
    return (
      block.readDoubleLE(at + 24) === state.size &&
      block.readUInt32LE(at + 16) === state.mode &&
      block.readDoubleLE(at + 32) === state.mtimeSeconds &&
      block.readDoubleLE(at + 40) === state.ctimeSeconds &&
      block.readDoubleLE(at + 48) === state.inode &&
      block.readUInt32LE(at + 56) === state.mtimeNanoseconds &&
      block.readUInt32LE(at + 60) === state.ctimeNanoseconds
    );
  }

  /** Of an entry. */
  get state(): FileState {
    const block = this.#block;
    const at = this.#at;
    return {
      mode: block.readUInt32LE(at + 16),
      size: block.readDoubleLE(at + 24),
      mtimeSeconds: block.readDoubleLE(at + 32),
      mtimeNanoseconds: block.readUInt32LE(at + 56),
      ctimeSeconds: block.readDoubleLE(at + 40),
      ctimeNanoseconds: block.readUInt32LE(at + 60),
      inode: block.readDoubleLE(at + 48),
    };
  }

  /** The line to be written again as it is. */
  get line(): TreeLine {
    const headAt = this.#at + fixedBytes + this.path.length;
    return {
      path: this.path,
      head: this.#block.subarray(headAt, headAt + this.#block.readUInt32LE(this.#at + 8)),
      ranges: this.ranges,
    };
  }

  /** Of a line: its content. Of a segment: where it is, as one range. */
  get ranges(): ContentRanges {
    const end = this.#at + this.#block.readUInt32LE(this.#at);
    return this.#block.subarray(end - this.#block.readUInt32LE(this.#at + 12), end);
  }

  /** Of a segment: false if it is the end of the tree that ended it. */
  get endsAtBoundary(): boolean {
    return this.#block[this.#at + 7] === 1;
  }
}

/** Reads a listing from its beginning, a block at a time. A damaged one ends at the damage: what follows is read anew. */
export class ListingReader {
  /** True once the listing has turned out to be damaged or cut short. */
  isDamaged = false;
  readonly #file: number;
  #position: number = magic.length;
  #block: Buffer = Buffer.alloc(0);
  #at = 0;
  #isOpen = true;

  constructor(path: string) {
    this.#file = openSync(path, 'r');
    const start = Buffer.alloc(magic.length);
    if (readSync(this.#file, start, 0, start.length, 0) !== start.length || !start.equals(magic))
      this.#end(true);
  }

  /** The next record, or undefined at the end. */
  next(): ListingRecord | undefined {
    if (this.#at >= this.#block.length && !this.#readBlock()) return undefined;
    const record = checkRecord(this.#block, this.#at);
    if (record === 0) {
      this.#end(true);
      return undefined;
    }
    const at = this.#at;
    this.#at += record;
    return new ListingRecord(this.#block, at);
  }

  close(): void {
    if (this.#isOpen) this.#end(false);
  }

  #readBlock(): boolean {
    if (!this.#isOpen) return false;
    const before = Buffer.alloc(8);
    const isWhole = readSync(this.#file, before, 0, 8, this.#position) === 8;
    const length = before.readUInt32LE(0);
    if (!isWhole || length > largestBlockBytes || length === 0) {
      this.#end(!isWhole || length > 0);
      return false;
    }
    const block = Buffer.allocUnsafeSlow(length);
    if (
      readSync(this.#file, block, 0, length, this.#position + 8) !== length ||
      crc32(block) !== before.readUInt32LE(4)
    ) {
      this.#end(true);
      return false;
    }
    this.#position += 8 + length;
    this.#block = block;
    this.#at = 0;
    return true;
  }

  #end(isDamaged: boolean): void {
    this.isDamaged ||= isDamaged;
    this.#block = Buffer.alloc(0);
    this.#at = 0;
    if (this.#isOpen) closeSync(this.#file);
    this.#isOpen = false;
  }
}

/** The length of the record at `at`, or 0 if there is none that lies within its block. */
function checkRecord(block: Buffer, at: number): number {
  if (at + fixedBytes > block.length) return 0;
  const recordBytes = block.readUInt32LE(at);
  const inner =
    fixedBytes + block.readUInt16LE(at + 4) + block.readUInt32LE(at + 8) + block.readUInt32LE(at + 12);
  const isWhole = recordBytes === inner && at + recordBytes <= block.length && block[at + 6]! < kinds.length;
  return isWhole && block.readUInt32LE(at + 12) % rangeBytes === 0 ? recordBytes : 0;
}
