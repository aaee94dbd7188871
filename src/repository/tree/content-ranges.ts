/** Bytes of one record of a ContentRanges. */
export const rangeBytes = 44;

/**
 * Where the content of a file is, in order: records of `rangeBytes` bytes, with pack number (of a PackTable), offset and
 * length in the pack's raw stream as 32 bits, little-endian, and the SHA-256 of the blob. One buffer and not objects, for
 * a run handles millions of them and copies them from the last listing to the next.
 */
export type ContentRanges = Buffer;

export const noRanges: ContentRanges = Buffer.alloc(0);

export interface ContentRange {
  readonly pack: number;
  readonly offset: number;
  readonly length: number;
  /** SHA-256. */
  readonly digest: Uint8Array;
}

export function encodeRanges(ranges: readonly ContentRange[]): ContentRanges {
  const buffer = Buffer.alloc(ranges.length * rangeBytes);
  for (const [index, range] of ranges.entries())
    writeRange(buffer, index, range.pack, range.offset, range.length, range.digest);
  return buffer;
}

export function writeRange(
  ranges: ContentRanges,
  index: number,
  pack: number,
  offset: number,
  length: number,
  digest: Uint8Array,
): void {
  const at = index * rangeBytes;
  ranges.writeUInt32LE(pack, at);
  ranges.writeUInt32LE(offset, at + 4);
  ranges.writeUInt32LE(length, at + 8);
  ranges.set(digest, at + 12);
}

export function countRanges(ranges: ContentRanges): number {
  return ranges.length / rangeBytes;
}

export function rangePack(ranges: ContentRanges, index: number): number {
  return ranges.readUInt32LE(index * rangeBytes);
}

export function rangeOffset(ranges: ContentRanges, index: number): number {
  return ranges.readUInt32LE(index * rangeBytes + 4);
}

export function rangeLength(ranges: ContentRanges, index: number): number {
  return ranges.readUInt32LE(index * rangeBytes + 8);
}

/** A view. */
export function rangeDigest(ranges: ContentRanges, index: number): Buffer {
  return ranges.subarray(index * rangeBytes + 12, (index + 1) * rangeBytes);
}
