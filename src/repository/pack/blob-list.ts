/** One blob: its SHA-256 and its length as 32 bits, little-endian. */
export const blobRecordBytes = 36;

/**
 * The blobs of one pack in raw-stream order, as records of `blobRecordBytes` in one growing buffer: a run sees millions.
 * Offsets are not kept, for each blob begins where the one before it ends.
 */
export class BlobList {
  #records: Buffer;
  #count = 0;

  constructor(records: Uint8Array = Buffer.alloc(blobRecordBytes * 64)) {
    this.#records = Buffer.from(records.buffer, records.byteOffset, records.byteLength);
  }

  /** The list that `bytes` gave. Not copied. */
  static fromBytes(bytes: Uint8Array): BlobList {
    if (bytes.length % blobRecordBytes !== 0) throw new RangeError('not a list of blob records');
    const list = new BlobList(bytes);
    list.#count = bytes.length / blobRecordBytes;
    return list;
  }

  get count(): number {
    return this.#count;
  }

  /** The records, in memory of their own, so that they can be moved to another thread. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#records.subarray(0, this.#count * blobRecordBytes));
  }

  add(digest: Uint8Array, length: number): void {
    const at = this.#count * blobRecordBytes;
    if (at + blobRecordBytes > this.#records.length) {
      const larger = Buffer.alloc(Math.max(this.#records.length * 2, blobRecordBytes * 64));
      larger.set(this.#records);
      this.#records = larger;
    }
    this.#records.set(digest, at);
    this.#records.writeUInt32LE(length, at + 32);
    this.#count++;
  }

  /** A view, good until the next `add`. */
  digest(index: number): Buffer {
    return this.#records.subarray(index * blobRecordBytes, index * blobRecordBytes + 32);
  }

  length(index: number): number {
    return this.#records.readUInt32LE(index * blobRecordBytes + 32);
  }
}
