import { createHash, type Hash } from 'node:crypto';
import type { ByteRange } from '../../storage/storage.ts';
import type { ObjectReader } from '../worker/object-reader.ts';

/** Fits the cache of a processor; where each reading travels, a small number of requests. */
const pieceBytes = 1024 * 1024;
const remotePieceBytes = 4 * 1024 * 1024;
const headBytes = 64 * 1024;

/** What `finish` knows of an object. */
export interface HashedObject {
  readonly digest: string;
  readonly sizeBytes: number;
  /** The first 64 KiB, or all there is. */
  readonly head: Buffer;
}

/**
 * Reads one object after the other, each from its first byte to its last and every byte once, hashes it all, and on the
 * way hands out ranges of it. Whoever wants them asks in ascending order. The one exception is the end: an object that
 * says at its end what it is made of is asked for that first, before `goThrough`; it is kept, and hashed when its turn comes.
 *
 * Holds a window of the object: a piece, and the longest range that was ever asked for.
 */
export class HashedRanges {
  readonly #objects: ObjectReader;
  readonly #pieceBytes: number;
  #window: Buffer;
  #name = '';
  #hash: Hash = createHash('sha256');
  #head: Buffer = Buffer.alloc(0);
  /** Where the window begins in the object. Everything before its end is hashed. */
  #start = 0;
  #length = 0;
  #isAtEnd = false;
  #goesThrough = false;
  #tail: { readonly start: number; readonly bytes: Uint8Array } | undefined;

  constructor(objects: ObjectReader) {
    this.#objects = objects;
    this.#pieceBytes = objects.isRemote ? remotePieceBytes : pieceBytes;
    this.#window = Buffer.allocUnsafeSlow(this.#pieceBytes);
  }

  /** Begins another object. @throws damaged if there is none, failed if it cannot be read */
  open(name: string): void {
    this.#name = name;
    this.#hash = createHash('sha256');
    this.#start = 0;
    this.#length = 0;
    this.#isAtEnd = false;
    this.#goesThrough = false;
    this.#tail = undefined;
    this.#readPiece();
    this.#head = Buffer.from(this.#window.subarray(0, Math.min(this.#length, headBytes)));
  }

  /** From now on ranges are asked for in ascending order. */
  goThrough(): void {
    this.#goesThrough = true;
  }

  /** A range of the object, shorter at its end; good until the next call. @throws as `open` */
  read({ offset, length }: ByteRange): Uint8Array {
    const end = offset + length;
    const isThere = offset >= this.#start && (end <= this.#start + this.#length || this.#isAtEnd);
    if (!isThere && (!this.#goesThrough || offset < this.#start)) return this.#readElsewhere(offset, end);
    while (this.#start + this.#length < end && !this.#isAtEnd) {
      this.#forgetBefore(Math.min(offset, this.#start + this.#length));
      this.#makeRoom(end - offset + this.#pieceBytes);
      this.#readPiece();
    }
    const from = Math.min(offset - this.#start, this.#length);
    return this.#window.subarray(from, Math.max(from, Math.min(end - this.#start, this.#length)));
  }

  /** Reads what is left. @throws as `open` */
  finish(): HashedObject {
    while (!this.#isAtEnd) {
      this.#forgetBefore(this.#start + this.#length);
      this.#readPiece();
    }
    return { digest: this.#hash.digest('hex'), sizeBytes: this.#start + this.#length, head: this.#head };
  }

  #readElsewhere(offset: number, end: number): Uint8Array {
    const tail = this.#tail;
    if (tail && offset >= tail.start && end <= tail.start + tail.bytes.length)
      return tail.bytes.subarray(offset - tail.start, end - tail.start);
    const bytes = this.#objects.read(this.#name, { offset, length: end - offset });
    if (!tail && offset > this.#start && bytes.length === end - offset) this.#tail = { start: offset, bytes };
    return bytes;
  }

  /** Appends to the window what comes next. */
  #readPiece(): void {
    const position = this.#start + this.#length;
    const tail = this.#tail;
    const isInTail = tail && position >= tail.start && position < tail.start + tail.bytes.length;
    let room = this.#window.subarray(this.#length, this.#length + this.#pieceBytes);
    if (tail && position < tail.start) room = room.subarray(0, tail.start - position);
    let length: number;
    if (isInTail) {
      const bytes = tail.bytes.subarray(position - tail.start).subarray(0, room.length);
      room.set(bytes);
      length = bytes.length;
    } else {
      length = this.#objects.readInto(this.#name, position, room);
      this.#isAtEnd = length < room.length;
    }
    this.#hash.update(room.subarray(0, length));
    this.#length += length;
  }

  #forgetBefore(offset: number): void {
    const count = offset - this.#start;
    if (count === 0) return;
    this.#window.copyWithin(0, count, this.#length);
    this.#start = offset;
    this.#length -= count;
  }

  #makeRoom(bytes: number): void {
    if (this.#window.length >= bytes) return;
    const larger = Buffer.allocUnsafeSlow(bytes);
    this.#window.copy(larger, 0, 0, this.#length);
    this.#window = larger;
  }
}
