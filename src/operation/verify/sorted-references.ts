import { asBuffer } from '../../bytes/bytes.ts';
import { blobReferenceBytes } from './verify-messages.ts';

/** More references than one message can hold. */
const mostReferences = 2 ** 21;

/** The blobs of a verify-messages.ts OpenJob in order of offset, read where they are: a pack may have a million. */
export class SortedReferences {
  readonly length: number;
  readonly #records: Buffer;
  /** By rank: offset times `mostReferences`, plus the number of the record. Exact, for offsets have 32 bits. */
  readonly #order: Float64Array;

  constructor(records: Uint8Array) {
    this.#records = asBuffer(records);
    this.length = records.length / blobReferenceBytes;
    if (this.length > mostReferences) throw new RangeError(`${this.length} references in one message`);
    this.#order = Float64Array.from(
      { length: this.length },
      (_, index) => this.#records.readUInt32LE(index * blobReferenceBytes) * mostReferences + index,
    ).sort();
  }

  offset(rank: number): number {
    return Math.floor(this.#order[rank]! / mostReferences);
  }

  /** Bytes of the blob. */
  size(rank: number): number {
    return this.#records.readUInt32LE(this.#at(rank) + 4);
  }

  digest(rank: number): Uint8Array {
    const at = this.#at(rank);
    return this.#records.subarray(at + 8, at + blobReferenceBytes);
  }

  /** True if the one before says the same. */
  isRepeated(rank: number): boolean {
    if (rank === 0) return false;
    const [at, before] = [this.#at(rank), this.#at(rank - 1)];
    const records = this.#records;
    return records.compare(records, before, before + blobReferenceBytes, at, at + blobReferenceBytes) === 0;
  }

  #at(rank: number): number {
    return (this.#order[rank]! % mostReferences) * blobReferenceBytes;
  }
}
