// What the planner tells a worker about the files in one pack: records in one buffer, which moves between threads without
// being copied. Not a format that is ever stored.
import type { FileEntry } from '../../posix/file-entry.ts';
import type { SuspendedFile } from '../../posix/target-file.ts';
import type { Piece } from '../reading/content-layout.ts';

/** A range of the pack and where in the file it belongs. */
export interface PlacedRange {
  readonly offset: number;
  readonly length: number;
  readonly digest: Uint8Array;
  readonly position: number;
  readonly pieces: readonly Piece[] | undefined;
}

/** A file that spans packs: the planner has begun it, and finishes it when all its packs are done. */
export interface SpreadPart {
  /** The planner's number for the file. */
  readonly number: number;
  readonly suspended: SuspendedFile;
}

/** A file, or of one that spans packs the part that is in this pack. */
export interface BatchFile {
  readonly entry: FileEntry;
  readonly spread: SpreadPart | undefined;
  readonly ranges: readonly PlacedRange[];
}

const initialBytes = 4 * 1024;
const nanoseconds = 1_000_000_000n;

/** Gathers the files of one pack. */
export class FileBatchWriter {
  #buffer = Buffer.from(new ArrayBuffer(initialBytes));
  #length = 0;
  #countAt = 0;
  #rangeCount = 0;
  /** Files added. */
  files = 0;
  /** Bytes of content, as the sum of all ranges. */
  contentBytes = 0;

  get bytes(): number {
    return this.#length;
  }

  /** Begins a file; its ranges follow by `addRange`. */
  addFile(entry: FileEntry, spread?: SpreadPart): void {
    this.#endRanges();
    this.files++;
    const { path, mode, uid, gid, user, group, mtimeNs, size, xattrs } = entry;
    this.#text(path);
    let seconds = mtimeNs / nanoseconds;
    let rest = mtimeNs % nanoseconds;
    if (rest < 0n) {
      seconds -= 1n;
      rest += nanoseconds;
    }
    this.#reserve(64);
    const buffer = this.#buffer;
    let at = this.#length;
    at = buffer.writeUInt16LE(mode, at);
    at = buffer.writeUInt32LE(uid, at);
    at = buffer.writeUInt32LE(gid, at);
    at = buffer.writeDoubleLE(Number(seconds), at);
    at = buffer.writeUInt32LE(Number(rest), at);
    at = buffer.writeDoubleLE(size, at);
    this.#length = at;
    this.#text(user);
    this.#text(group);
    this.#number(xattrs?.size ?? 0);
    for (const [name, value] of xattrs ?? []) {
      this.#text(name);
      this.#text(value);
    }
    this.#number(spread ? spread.number + 1 : 0);
    if (spread) {
      this.#text(spread.suspended.identity);
      this.#number(spread.suspended.isTemporary ? 1 : 0);
    }
    this.#countAt = this.#length;
    this.#number(0);
  }

  /** Adds a range to the file begun last. */
  addRange(
    offset: number,
    length: number,
    digest: Uint8Array,
    position: number,
    pieces: readonly Piece[] | undefined,
  ): void {
    const count = pieces?.length ?? 0;
    this.#reserve(52 + 16 * count);
    const buffer = this.#buffer;
    let at = this.#length;
    at = buffer.writeUInt32LE(offset, at);
    at = buffer.writeUInt32LE(length, at);
    buffer.set(digest, at);
    at = buffer.writeDoubleLE(position, at + 32);
    at = buffer.writeUInt32LE(count, at);
    for (const piece of pieces ?? []) {
      at = buffer.writeUInt32LE(piece.start, at);
      at = buffer.writeUInt32LE(piece.length, at);
      at = buffer.writeDoubleLE(piece.position, at);
    }
    this.#length = at;
    this.#rangeCount++;
    this.contentBytes += length;
  }

  /** The records. The writer is used up. */
  finish(): Uint8Array<ArrayBuffer> {
    this.#endRanges();
    return new Uint8Array(this.#buffer.buffer, 0, this.#length);
  }

  #endRanges(): void {
    if (this.files > 0) this.#buffer.writeUInt32LE(this.#rangeCount, this.#countAt);
    this.#rangeCount = 0;
  }

  #number(value: number): void {
    this.#reserve(4);
    this.#length = this.#buffer.writeUInt32LE(value, this.#length);
  }

  #text(text: string | Uint8Array): void {
    const size = typeof text === 'string' ? Buffer.byteLength(text) : text.length;
    this.#number(size);
    this.#reserve(size);
    if (typeof text === 'string') this.#buffer.write(text, this.#length);
    else this.#buffer.set(text, this.#length);
    this.#length += size;
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const larger = Buffer.from(new ArrayBuffer(Math.max(this.#buffer.length * 2, this.#length + bytes)));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}

/** The files of a batch, in the order in which they were added. Paths and digests are views of `bytes`. */
export function* readFileBatch(bytes: Uint8Array): Generator<BatchFile> {
  const reader = new BatchReader(bytes);
  while (!reader.atEnd) yield reader.file();
}

class BatchReader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get atEnd(): boolean {
    return this.#at === this.#buffer.length;
  }

  file(): BatchFile {
    const path = this.#bytes();
    const buffer = this.#buffer;
    const at = this.#at;
    const mode = buffer.readUInt16LE(at);
    const uid = buffer.readUInt32LE(at + 2);
    const gid = buffer.readUInt32LE(at + 6);
    const seconds = buffer.readDoubleLE(at + 10);
    const rest = buffer.readUInt32LE(at + 18);
    const size = buffer.readDoubleLE(at + 22);
    this.#at = at + 30;
    const user = this.#bytes().toString();
    const group = this.#bytes().toString();
    const xattrs = this.#xattrs();
    const entry: FileEntry = {
      path,
      type: 'file',
      mode,
      uid,
      gid,
      user,
      group,
      mtimeNs: BigInt(seconds) * nanoseconds + BigInt(rest),
      size,
      ...(xattrs && { xattrs }),
    };
    const spread = this.#spread();
    const count = this.#number();
    const ranges: PlacedRange[] = [];
    while (ranges.length < count) ranges.push(this.#range());
    return { entry, spread, ranges };
  }

  #spread(): SpreadPart | undefined {
    const number = this.#number();
    if (number === 0) return undefined;
    const identity = this.#bytes().toString();
    return { number: number - 1, suspended: { identity, isTemporary: this.#number() === 1 } };
  }

  #xattrs(): ReadonlyMap<string, Buffer> | undefined {
    const count = this.#number();
    if (count === 0) return undefined;
    const xattrs = new Map<string, Buffer>();
    while (xattrs.size < count) {
      const name = this.#bytes().toString();
      xattrs.set(name, this.#bytes());
    }
    return xattrs;
  }

  #range(): PlacedRange {
    const buffer = this.#buffer;
    const at = this.#at;
    const offset = buffer.readUInt32LE(at);
    const length = buffer.readUInt32LE(at + 4);
    const digest = buffer.subarray(at + 8, at + 40);
    const position = buffer.readDoubleLE(at + 40);
    const count = buffer.readUInt32LE(at + 48);
    this.#at = at + 52;
    if (count === 0) return { offset, length, digest, position, pieces: undefined };
    const pieces: Piece[] = [];
    for (; pieces.length < count; this.#at += 16)
      pieces.push({
        start: buffer.readUInt32LE(this.#at),
        length: buffer.readUInt32LE(this.#at + 4),
        position: buffer.readDoubleLE(this.#at + 8),
      });
    return { offset, length, digest, position, pieces };
  }

  #number(): number {
    const value = this.#buffer.readUInt32LE(this.#at);
    this.#at += 4;
    return value;
  }

  #bytes(): Buffer {
    const size = this.#number();
    const bytes = this.#buffer.subarray(this.#at, this.#at + size);
    this.#at += size;
    return bytes;
  }
}
