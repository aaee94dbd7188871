import { statSync } from 'node:fs';
import { join } from 'node:path';
import { rangeBytes, writeRange } from '../tree/content-ranges.ts';
import { BlobLevel, BlobLevelWriter, compareDigests, locationAt, type BlobLocation } from './blob-level.ts';

const headerBytes = 64;
/** Slots of the table of a run; a power of two. */
const slots = 1 << 19;
/** Above this many the slots are emptied into a level on disk: memory stays the same however much a run stores. */
const fullAt: number = Math.floor(slots * 0.7);
// Words of the header.
const lockWord = 0;
const countWord = 1;
const spillsWord = 2;
const waitersWord = 3;

/** What another thread needs for the same table. Can be posted. */
export interface BlobTableShare {
  readonly memory: SharedArrayBuffer;
  /** Levels of earlier runs. */
  readonly levels: readonly string[];
  /** A folder of the run's own, for what does not fit into memory. */
  readonly spillFolder: string;
}

/** `levels` are files of earlier runs, newest first. */
export function shareBlobTable(levels: readonly string[], spillFolder: string): BlobTableShare {
  return { memory: new SharedArrayBuffer(headerBytes + slots * rangeBytes), levels, spillFolder };
}

/**
 * Where every known blob is: those of earlier runs on disk, those of this run in memory that all threads of the run share.
 * One instance per thread.
 */
export class BlobTable {
  readonly #header: Int32Array;
  readonly #slots: Buffer;
  readonly #spillFolder: string;
  readonly #isGone: (pack: number) => boolean;
  readonly #old: BlobLevel[] = [];
  readonly #spilled: BlobLevel[] = [];

  /** `isGone`: true for packs of earlier runs that must not be referred to any more. */
  constructor(share: BlobTableShare, isGone: (pack: number) => boolean = () => false) {
    this.#header = new Int32Array(share.memory, 0, headerBytes / 4);
    this.#slots = Buffer.from(share.memory, headerBytes);
    this.#spillFolder = share.spillFolder;
    this.#isGone = isGone;
    for (const path of share.levels) {
      const level = BlobLevel.open(path, statSync(path).size);
      if (level) this.#old.push(level);
    }
  }

  /**
   * Where the blob is, if it is stored or another thread has said that it stores it; undefined if the caller, who names
   * the place here, is to store it. Of several threads that ask at once exactly one is.
   */
  claim(digest: Uint8Array, pack: number, offset: number, length: number): BlobLocation | undefined {
    for (const level of this.#old) {
      const found = level.find(digest);
      if (found && !this.#isGone(found.pack)) return found;
    }
    for (;;) {
      const spills = this.#followSpills();
      for (const level of this.#spilled) {
        const found = level.find(digest);
        if (found) return found;
      }
      this.#lock();
      try {
        // What moved to disk between the look there and here would be missed.
        if (Atomics.load(this.#header, spillsWord) !== spills) continue;
        const at = this.#probe(digest);
        if (this.#slots.readUInt32LE(at + 8) > 0) return locationAt(this.#slots, at);
        writeRange(this.#slots, at / rangeBytes, pack, offset, length, digest);
        if (Atomics.add(this.#header, countWord, 1) + 1 >= fullAt) this.#spill();
        return undefined;
      } finally {
        this.#unlock();
      }
    }
  }

  /** The run's own records as levels: what was spilled, and the rest written to `path`. Only when no thread claims any more. */
  finish(path: string): string[] {
    const spills = this.#followSpills();
    const levels = Array.from({ length: spills }, (_, index) => this.#spillPath(index));
    if (Atomics.load(this.#header, countWord) > 0) {
      this.#writeSlots(path);
      levels.push(path);
    }
    return levels;
  }

  close(): void {
    for (const level of [...this.#old, ...this.#spilled]) level.close();
  }

  #probe(digest: Uint8Array): number {
    let slot = (digest[0]! | (digest[1]! << 8) | (digest[2]! << 16)) & (slots - 1);
    for (;;) {
      const at = slot * rangeBytes;
      if (
        this.#slots.readUInt32LE(at + 8) === 0 ||
        this.#slots.compare(digest, 0, 32, at + 12, at + rangeBytes) === 0
      )
        return at;
      slot = (slot + 1) & (slots - 1);
    }
  }

  #spill(): void {
    const spills = Atomics.load(this.#header, spillsWord);
    this.#writeSlots(this.#spillPath(spills));
    this.#slots.fill(0);
    Atomics.store(this.#header, countWord, 0);
    Atomics.store(this.#header, spillsWord, spills + 1);
  }

  #writeSlots(path: string): void {
    const writer = new BlobLevelWriter(path);
    for (const at of this.#inOrder()) writer.add(this.#slots, at);
    writer.finish();
  }

  /** Where the used slots are, in ascending order of their digests: the few that share 16 bits are compared. */
  #inOrder(): Uint32Array {
    const leading16 = (at: number): number => this.#slots.readUInt16BE(at + 12);
    const ends = new Uint32Array(1 << 16);
    for (const at of this.#used()) ends[leading16(at)]!++;
    for (let bits = 1; bits < ends.length; bits++) ends[bits]! += ends[bits - 1]!;
    const order = new Uint32Array(ends.at(-1)!);
    const starts = ends.slice();
    for (const at of this.#used()) order[--starts[leading16(at)]!] = at;
    for (let end = 1; end < order.length; end++) {
      const at = order[end]!;
      const start = starts[leading16(at)]!;
      let place = end;
      for (; place > start && compareDigests(this.#slots, at, this.#slots, order[place - 1]!) < 0; place--)
        order[place] = order[place - 1]!;
      order[place] = at;
    }
    return order;
  }

  *#used(): Generator<number> {
    for (let at = 0; at < this.#slots.length; at += rangeBytes)
      if (this.#slots.readUInt32LE(at + 8) > 0) yield at;
  }

  #followSpills(): number {
    const spills = Atomics.load(this.#header, spillsWord);
    while (this.#spilled.length < spills) {
      const path = this.#spillPath(this.#spilled.length);
      const level = BlobLevel.open(path, statSync(path).size);
      if (!level) throw new Error(`the run's own file ${path} is damaged`);
      this.#spilled.push(level);
    }
    return spills;
  }

  #spillPath(index: number): string {
    return join(this.#spillFolder, `blobs-${index}`);
  }

  #lock(): void {
    while (Atomics.compareExchange(this.#header, lockWord, 0, 1) !== 0) {
      Atomics.add(this.#header, waitersWord, 1);
      Atomics.wait(this.#header, lockWord, 1, 10);
      Atomics.sub(this.#header, waitersWord, 1);
    }
  }

  #unlock(): void {
    Atomics.store(this.#header, lockWord, 0);
    if (Atomics.load(this.#header, waitersWord) > 0) Atomics.notify(this.#header, lockWord, 1);
  }
}
