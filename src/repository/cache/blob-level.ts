import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { rangeBytes } from '../tree/content-ranges.ts';

// A level is a file of blob locations sorted by digest: blocks of 4 KiB with 93 records and a CRC-32 each, then the first
// 48 bits of the first digest of every block, then a footer. A lookup searches those bits in memory and reads one block.
// Records are those of ContentRanges: pack, offset, length, SHA-256.
const blockBytes = 4096;
const recordsPerBlock = 93;
const digestAt = 12;
const indexEntryBytes = 6;
const footerMagic = Buffer.from('SLVGBLB1');
const footerBytes = 24;

export interface BlobLocation {
  readonly pack: number;
  readonly offset: number;
  readonly length: number;
}

/** Writes a level from records that come in ascending order of their digests, none twice. */
export class BlobLevelWriter {
  readonly #file: number;
  readonly #block = Buffer.alloc(blockBytes);
  readonly #firsts: Buffer[] = [];
  #inBlock = 0;
  #count = 0;

  constructor(path: string) {
    this.#file = openSync(path, 'wx', 0o600);
  }

  add(records: Buffer, at: number): void {
    if (this.#inBlock === 0)
      this.#firsts.push(Buffer.from(records.subarray(at + digestAt, at + digestAt + indexEntryBytes)));
    records.copy(this.#block, this.#inBlock * rangeBytes, at, at + rangeBytes);
    this.#count++;
    if (++this.#inBlock === recordsPerBlock) this.#flush();
  }

  /** Returns the number of records. */
  finish(): number {
    if (this.#inBlock > 0) this.#flush();
    const index = Buffer.concat(this.#firsts);
    const footer = Buffer.alloc(footerBytes);
    footerMagic.copy(footer);
    footer.writeUInt32LE(this.#count, 8);
    footer.writeUInt32LE(crc32(index), 12);
    footer.writeUInt32LE(crc32(footer.subarray(0, 16)), 16);
    writeSync(this.#file, Buffer.concat([index, footer]));
    closeSync(this.#file);
    return this.#count;
  }

  #flush(): void {
    this.#block.fill(0, this.#inBlock * rangeBytes);
    this.#block.writeUInt32LE(crc32(this.#block.subarray(0, blockBytes - 4)), blockBytes - 4);
    writeSync(this.#file, this.#block);
    this.#inBlock = 0;
  }
}

/** A level to look in. A damaged block holds nothing: its blobs are stored once more, which is all that it costs. */
export class BlobLevel {
  readonly count: number;
  readonly #file: number;
  readonly #firsts: Float64Array;
  readonly #block = Buffer.alloc(blockBytes);

  private constructor(file: number, count: number, firsts: Float64Array) {
    this.#file = file;
    this.count = count;
    this.#firsts = firsts;
  }

  /** Undefined if this is no whole level. */
  static open(path: string, sizeBytes: number): BlobLevel | undefined {
    const file = openSync(path, 'r');
    const firsts = readIndex(file, sizeBytes);
    if (firsts) return new BlobLevel(file, firsts.count, firsts.index);
    closeSync(file);
    return undefined;
  }

  close(): void {
    closeSync(this.#file);
  }

  find(digest: Uint8Array): BlobLocation | undefined {
    const key = leading48(digest);
    let low = 0;
    let high = this.#firsts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#firsts[middle]! <= key) low = middle;
      else high = middle - 1;
    }
    // Digests that share 48 bits may begin in an earlier block.
    for (let block = low; block >= 0; block--) {
      const found = this.#findInBlock(block, digest);
      if (found) return found;
      if (this.#firsts[block]! < key) return undefined;
    }
    return undefined;
  }

  /** All records in order, block by block; `onRecord` must not keep the buffer. */
  forEach(onRecord: (records: Buffer, at: number) => void): void {
    for (const cursor = new BlobLevelCursor(this); !cursor.atEnd; cursor.next())
      onRecord(cursor.records, cursor.at);
  }

  get blocks(): number {
    return this.#firsts.length;
  }

  /** Reads block `index` into `into` and returns its number of records, 0 if it is damaged. */
  readBlock(index: number, into: Buffer): number {
    const read = readSync(this.#file, into, 0, blockBytes, index * blockBytes);
    if (read !== blockBytes || crc32(into.subarray(0, blockBytes - 4)) !== into.readUInt32LE(blockBytes - 4))
      return 0;
    return Math.min(recordsPerBlock, this.count - index * recordsPerBlock);
  }

  #findInBlock(index: number, digest: Uint8Array): BlobLocation | undefined {
    const block = this.#block;
    let low = 0;
    let high = this.readBlock(index, block) - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const at = middle * rangeBytes;
      const order = block.compare(digest, 0, 32, at + digestAt, at + rangeBytes);
      if (order === 0) return locationAt(block, at);
      if (order < 0) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }
}

class BlobLevelCursor {
  readonly records: Buffer = Buffer.alloc(blockBytes);
  at = 0;
  readonly #level: BlobLevel;
  #block = -1;
  #left = 0;

  constructor(level: BlobLevel) {
    this.#level = level;
    this.next();
  }

  get atEnd(): boolean {
    return this.#left === 0;
  }

  next(): void {
    this.at += rangeBytes;
    if (this.#left > 0) this.#left--;
    while (this.#left === 0 && ++this.#block < this.#level.blocks) {
      this.#left = this.#level.readBlock(this.#block, this.records);
      this.at = 0;
    }
  }
}

/** All records of a level, in order of their digests. The digest is a view, good until the next one. */
export function* levelRecords(
  level: BlobLevel,
): Generator<{ readonly digest: Buffer; readonly location: BlobLocation }> {
  for (const cursor = new BlobLevelCursor(level); !cursor.atEnd; cursor.next()) {
    const { records, at } = cursor;
    yield { digest: records.subarray(at + digestAt, at + rangeBytes), location: locationAt(records, at) };
  }
}

/**
 * Writes one level with what `levels` hold, in one pass; of equal digests the first level's record is taken. Records that
 * `keep` refuses are dropped. Returns the number of records written.
 */
export function mergeLevels(
  path: string,
  levels: readonly BlobLevel[],
  keep: (location: BlobLocation) => boolean,
): number {
  const writer = new BlobLevelWriter(path);
  const cursors = levels.map((level) => new BlobLevelCursor(level)).filter((cursor) => !cursor.atEnd);
  while (cursors.length > 0) {
    let least = cursors[0]!;
    for (const cursor of cursors)
      if (compareDigests(cursor.records, cursor.at, least.records, least.at) < 0) least = cursor;
    if (keep(locationAt(least.records, least.at))) writer.add(least.records, least.at);
    const taken = Buffer.from(least.records.subarray(least.at, least.at + rangeBytes));
    for (let index = cursors.length - 1; index >= 0; index--) {
      const cursor = cursors[index]!;
      if (compareDigests(cursor.records, cursor.at, taken, 0) !== 0) continue;
      cursor.next();
      if (cursor.atEnd) cursors.splice(index, 1);
    }
  }
  return writer.finish();
}

export function compareDigests(a: Buffer, atA: number, b: Buffer, atB: number): number {
  return a.compare(b, atB + digestAt, atB + rangeBytes, atA + digestAt, atA + rangeBytes);
}

export function locationAt(records: Buffer, at: number): BlobLocation {
  return {
    pack: records.readUInt32LE(at),
    offset: records.readUInt32LE(at + 4),
    length: records.readUInt32LE(at + 8),
  };
}

function leading48(digest: Uint8Array): number {
  return Buffer.from(digest.buffer, digest.byteOffset, digest.byteLength).readUIntBE(0, indexEntryBytes);
}

function readIndex(file: number, sizeBytes: number): { count: number; index: Float64Array } | undefined {
  const footer = Buffer.alloc(footerBytes);
  if (
    sizeBytes < footerBytes ||
    readSync(file, footer, 0, footerBytes, sizeBytes - footerBytes) !== footerBytes
  )
    return undefined;
  const count = footer.readUInt32LE(8);
  const blocks = Math.ceil(count / recordsPerBlock);
  const indexBytes = blocks * indexEntryBytes;
  if (
    !footer.subarray(0, 8).equals(footerMagic) ||
    footer.readUInt32LE(16) !== crc32(footer.subarray(0, 16)) ||
    sizeBytes !== blocks * blockBytes + indexBytes + footerBytes
  )
    return undefined;
  const bytes = Buffer.alloc(indexBytes);
  const read = readSync(file, bytes, 0, indexBytes, blocks * blockBytes);
  if (read !== indexBytes || crc32(bytes) !== footer.readUInt32LE(12)) return undefined;
  const index = new Float64Array(blocks);
  for (let block = 0; block < blocks; block++)
    index[block] = bytes.readUIntBE(block * indexEntryBytes, indexEntryBytes);
  return { count, index };
}
