/** What a stream is compressed with, as far as its first bytes tell. */
export type StreamFormat = 'zstd' | 'gzip' | 'xz' | 'bzip2' | 'none';

/** So many first bytes are enough. */
export const recognisableBytes = 6;

const magic: readonly (readonly [StreamFormat, RegExp])[] = [
  ['gzip', /^\x1f\x8b/],
  ['zstd', /^\x28\xb5\x2f\xfd/],
  // A skippable frame may come first (RFC 8878, section 3.1.2).
  ['zstd', /^[\x50-\x5f]\x2a\x4d\x18/],
  ['xz', /^\xfd7zXZ\0/],
  ['bzip2', /^BZh[1-9]/],
];

/** The format of the stream that begins with these bytes; 'none' for everything unknown, plain tar among it. */
export function recogniseFormat(head: Uint8Array): StreamFormat {
  const text = Buffer.from(head.subarray(0, recognisableBytes)).toString('latin1');
  return magic.find(([, pattern]) => pattern.test(text))?.[0] ?? 'none';
}
