import type { PackId } from '../../repository/ids.ts';
import type { PackTable } from '../../repository/pack/pack-table.ts';
import { rangeBytes, type ContentRanges } from '../../repository/tree/content-ranges.ts';
import { blobReferenceBytes } from './verify-messages.ts';

interface Growing {
  buffer: Buffer<ArrayBuffer>;
  length: number;
}

const initialReferences = 64;

/** References to blobs by pack, as records of `blobReferenceBytes`: offset, length, SHA-256. */
export class BlobReferences {
  #packs = new Map<PackId, Growing>();
  /** In memory. */
  bytes = 0;

  add(pack: PackId, offset: number, length: number, digest: Uint8Array): void {
    const { buffer, at } = this.#reserve(pack);
    buffer.writeUInt32LE(offset, at);
    buffer.writeUInt32LE(length, at + 4);
    buffer.set(digest, at + 8);
  }

  /** The ranges of a tree line, whose packs are numbered by `packs`. */
  addRanges(ranges: ContentRanges, packs: PackTable): void {
    for (let from = 0; from < ranges.length; from += rangeBytes) {
      const { buffer, at } = this.#reserve(packs.idOf(ranges.readUInt32LE(from))!);
      // A range is a pack number and a reference.
      ranges.copy(buffer, at, from + 4, from + rangeBytes);
    }
  }

  /** Hands over what was gathered. */
  *take(): Generator<readonly [PackId, Uint8Array<ArrayBuffer>]> {
    const packs = this.#packs;
    this.#packs = new Map();
    this.bytes = 0;
    for (const [pack, { buffer, length }] of packs) yield [pack, new Uint8Array(buffer.buffer, 0, length)];
  }

  #reserve(pack: PackId): { readonly buffer: Buffer; readonly at: number } {
    let growing = this.#packs.get(pack);
    if (!growing) {
      growing = { buffer: Buffer.from(new ArrayBuffer(initialReferences * blobReferenceBytes)), length: 0 };
      this.#packs.set(pack, growing);
      this.bytes += growing.buffer.length;
    }
    if (growing.length === growing.buffer.length) {
      const larger = Buffer.from(new ArrayBuffer(2 * growing.buffer.length));
      growing.buffer.copy(larger);
      this.bytes += larger.length - growing.buffer.length;
      growing.buffer = larger;
    }
    const at = growing.length;
    growing.length += blobReferenceBytes;
    return { buffer: growing.buffer, at };
  }
}
