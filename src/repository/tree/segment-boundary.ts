import { countRanges, rangeDigest, type ContentRanges } from './content-ranges.ts';

// docs/design/format.md "Tree segments"; these numbers decide only how well segments are found again, a reader does not
// depend on them.
const smallestSegmentBytes = 64 * 1024;
/** No line is added to a segment that it would make larger than this, its first line not counted. */
export const largestSegmentBytes: number = 1024 * 1024;
/** With the smallest size this gives a mean of about 256 KiB. */
const meanBytesPastSmallest = 192 * 1024;

/**
 * Whether a segment ends after this line of `lineBytes` bytes, which makes it `segmentBytes` long (its first line not
 * counted). A line is the likelier to end a segment the longer it is, and what decides is a hash of its path, or of its
 * last blob where a file goes on in another line.
 */
export function isBoundary(
  line: { readonly path: Uint8Array; readonly head: string | Buffer; readonly ranges: ContentRanges },
  lineBytes: number,
  segmentBytes: number,
): boolean {
  if (segmentBytes < smallestSegmentBytes) return false;
  const continues = typeof line.head === 'string' ? line.head[2] === 'c' : line.head[2] === 0x63;
  const count = countRanges(line.ranges);
  const key = continues && count > 0 ? rangeDigest(line.ranges, count - 1) : line.path;
  return hash(key) < (lineBytes / meanBytesPastSmallest) * 2 ** 32;
}

/** FNV-1a, then the finalizer of MurmurHash3, since FNV alone leaves the upper bits of short paths alike. */
function hash(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < bytes.length; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
