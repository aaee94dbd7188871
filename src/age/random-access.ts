import { concatBytes } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { openEnvelopeOrThrow } from './envelope.ts';
import { HeaderParser, headerLimits, verifyHeaderMac } from './header.ts';
import type { Header } from './header.ts';
import {
  brokenChunk,
  chunkBytes,
  decryptChunk,
  derivePayloadKey,
  payloadLayout,
  payloadNonceBytes,
  sealedChunkBytes,
} from './payload.ts';
import type { Identity } from './recipient.ts';

/** A binary age file of which any part can be read. */
export interface RandomAccessSource {
  readonly size: number;
  /** Exactly these bytes, which lie within `size`. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

export interface RandomAccessOptions {
  /** Plaintext bytes at the end that the caller will want at once: they come with the last chunk, in one read. */
  readonly tailBytes?: number;
}

/** The plaintext of an age file as if it lay there decrypted. */
export interface RandomAccessReader {
  /** Plaintext bytes; authentic. */
  readonly size: number;
  /** For another reader of the same file. */
  readonly fileKey: Uint8Array;
  /**
   * The plaintext from `offset` on, authentic; shorter than `length` only at the end of the file. One read of the source.
   * @throws age-payload
   */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Room for a header with ten post-quantum recipients. */
const firstReadBytes = 16 * 1024;

/**
 * Opens an age file for random access with two reads, or with one if it is small: the header, and the last chunk,
 * which is verified as the last one before the size of the file is believed (C2SP age.md "Payload").
 * @param key identities, or the file key from an earlier opening
 * @throws age-header, age-hmac, no-identity-match, age-payload, and what an identity throws
 */
export async function openRandomAccess(
  source: RandomAccessSource,
  key: readonly Identity[] | Uint8Array,
  options: RandomAccessOptions = {},
): Promise<RandomAccessReader> {
  const { header, start } = await readHeader(source);
  const fileKey = key instanceof Uint8Array ? key : await openEnvelopeOrThrow(header, key);
  if (key instanceof Uint8Array && !verifyHeaderMac(header, fileKey))
    throw new SalvageError('age-hmac', 'Cannot trust the age header: its MAC does not fit the file key');

  const payloadOffset = header.bytes.length;
  if (source.size < payloadOffset + payloadNonceBytes)
    throw new SalvageError('age-header', 'Cannot decrypt the payload: the file ends right after its header');
  const layout = payloadLayout(source.size - payloadOffset);
  const nonceEnd = payloadOffset + payloadNonceBytes;
  const nonce =
    start.length < nonceEnd
      ? await readExactly(source, payloadOffset, payloadNonceBytes)
      : start.subarray(payloadOffset, nonceEnd);
  const payloadKey = derivePayloadKey(fileKey, nonce);

  const lastIndex = layout.chunks - 1;
  const offsetOf = (index: number): number => nonceEnd + index * sealedChunkBytes;
  const tailStart = Math.min(
    lastIndex,
    Math.floor(Math.max(0, layout.plaintextBytes - (options.tailBytes ?? 0)) / chunkBytes),
  );
  const tailOffset = offsetOf(tailStart);
  const tail =
    start.length === source.size
      ? start.subarray(tailOffset)
      : await readExactly(source, tailOffset, source.size - tailOffset);

  const openChunk = (index: number, sealed: Uint8Array): Uint8Array => {
    const plaintext = decryptChunk(payloadKey, index, index === lastIndex, sealed);
    if (!plaintext) throw brokenChunk(index);
    return plaintext;
  };
  openChunk(lastIndex, tail.subarray((lastIndex - tailStart) * sealedChunkBytes));

  return {
    size: layout.plaintextBytes,
    fileKey,
    async read(offset, length): Promise<Uint8Array> {
      if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0)
        throw new RangeError('offset and length are non-negative integers');
      const end = Math.min(offset + length, layout.plaintextBytes);
      if (offset >= end) return new Uint8Array(0);
      const first = Math.floor(offset / chunkBytes);
      const last = Math.ceil(end / chunkBytes) - 1;
      const sealedEnd = Math.min(offsetOf(last + 1), source.size);
      const sealed =
        first >= tailStart
          ? tail.subarray(offsetOf(first) - tailOffset, sealedEnd - tailOffset)
          : await readExactly(source, offsetOf(first), sealedEnd - offsetOf(first));
      const parts: Uint8Array[] = [];
      for (let index = first; index <= last; index++) {
        const at = (index - first) * sealedChunkBytes;
        const plaintext = openChunk(index, sealed.subarray(at, at + sealedChunkBytes));
        const chunkStart = index * chunkBytes;
        parts.push(plaintext.subarray(Math.max(0, offset - chunkStart), end - chunkStart));
      }
      return parts.length === 1 ? parts[0]! : concatBytes(parts);
    },
  };
}

/** The header and the bytes from the start of the file that were read for it. */
async function readHeader(source: RandomAccessSource): Promise<{ header: Header; start: Uint8Array }> {
  const parser = new HeaderParser();
  let start: Uint8Array = new Uint8Array(0);
  for (let wanted = firstReadBytes; ; wanted *= 4) {
    const end = Math.min(source.size, wanted, headerLimits.bytes + firstReadBytes);
    const piece = await readExactly(source, start.length, end - start.length);
    start = concatBytes([start, piece]);
    if (parser.push(piece)) return { header: parser.header!, start };
    if (end === source.size) parser.finish();
  }
}

async function readExactly(source: RandomAccessSource, offset: number, length: number): Promise<Uint8Array> {
  const bytes = await source.read(offset, length);
  if (bytes.length !== length)
    throw new SalvageError(
      'age-payload',
      `Cannot decrypt the file: it has not the ${source.size} bytes it should have`,
    );
  return bytes;
}
