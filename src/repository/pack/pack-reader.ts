import { createHash } from 'node:crypto';
import {
  chunkBytes,
  decryptChunk,
  derivePayloadKey,
  payloadLayout,
  payloadNonceBytes,
  sealedChunkBytes,
} from '../../age/payload.ts';
import { equalBytes } from '../../bytes/bytes.ts';
import { releaseMemory } from '../../bytes/release-memory.ts';
import { parseSeekFooter, parseSeekTable, seekFooterBytes } from '../../compression/seek-table.ts';
import { isPaddingFrame } from '../../compression/skippable-frame.ts';
import { decompressFrame } from '../../compression/zstd-frame.ts';
import { damagedObject, namingDamage } from '../damage.ts';
import { limits } from '../limits.ts';
import type { Fetch } from './fetch.ts';

/** One frame of a pack, by where it is in the raw stream. */
export interface PackFrame {
  readonly rawOffset: number;
  readonly rawBytes: number;
  /** Where its compressed bytes are in the payload's plaintext. */
  readonly offset: number;
  readonly compressedBytes: number;
}

/** Where to find an object, and how to open it. */
export interface SealedObject {
  /** For messages. */
  readonly name: string;
  readonly sizeBytes: number;
  /** Length of the age header, which is where the payload begins. */
  readonly headerBytes: number;
  readonly fileKey: Uint8Array;
}

/**
 * Reads a pack, or a document sealed in the form of one, frame by frame or blob by blob, and holds one frame at most. What
 * it returns has been authenticated by age under the pack's file key, and nothing more: that blobs have the digests by
 * which they are known is for `readBlob` or the caller to check, and the object's own name for whoever reads it whole.
 *
 * Everything that the format does not allow is refused with 'damaged', naming the object.
 */
export class PackReader {
  readonly name: string;
  /** In raw-stream order, without the padding. */
  readonly frames: readonly PackFrame[];
  readonly rawBytes: number;
  readonly #payload: PayloadReader;
  readonly #padding: { readonly offset: number; readonly length: number };
  readonly #lends: boolean;
  #current: { readonly index: number; readonly raw: Uint8Array } | undefined;

  private constructor(payload: PayloadReader, name: string, layout: FrameLayout, lends: boolean) {
    this.#lends = lends;
    this.name = name;
    this.#payload = payload;
    this.frames = layout.frames;
    this.rawBytes = layout.rawBytes;
    this.#padding = layout.padding;
  }

  /**
   * Verifies the last chunk as last, then reads the seek table: one or two ranges besides the nonce. With `lends` a frame
   * or blob is good until another frame is read and no longer: for loops over many frames. @throws damaged
   */
  static *open(object: SealedObject, options: { readonly lends?: boolean } = {}): Fetch<PackReader> {
    const { name } = object;
    try {
      const payload = yield* PayloadReader.open(object);
      const end = payload.plaintextBytes;
      if (end < seekFooterBytes) throw new Error('it has no room for a seek table');
      const footer = yield* payload.read(end - seekFooterBytes, seekFooterBytes);
      const tableBytes = parseSeekFooter(footer, limits.frames);
      if (tableBytes > end) throw new Error('its seek table is longer than itself');
      const table = yield* payload.read(end - tableBytes, tableBytes);
      return new PackReader(
        payload,
        name,
        layOutFrames(parseSeekTable(table), end - tableBytes),
        options.lends ?? false,
      );
    } catch (error) {
      throw namingDamage(name, error);
    }
  }

  /** The content of frame `index`. A view that stays good, if it is not lent. @throws damaged */
  *readFrame(index: number): Fetch<Uint8Array> {
    if (this.#current?.index === index) return this.#current.raw;
    const frame = this.frames[index];
    if (!frame) throw new RangeError(`frame ${index} of ${this.frames.length}`);
    if (this.#lends && this.#current) releaseMemory(this.#current.raw);
    this.#current = undefined;
    try {
      const compressed = yield* this.#payload.read(frame.offset, frame.compressedBytes);
      const raw = decompressFrame(compressed, frame.rawBytes);
      releaseMemory(compressed);
      this.#current = { index, raw };
      return raw;
    } catch (error) {
      throw namingDamage(this.name, error);
    }
  }

  /** The frame that holds all of the range, or undefined: a blob lies in one frame. */
  frameOf(rawOffset: number, length: number): number | undefined {
    let low = 0;
    let high = this.frames.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.frames[middle]!.rawOffset <= rawOffset) low = middle;
      else high = middle - 1;
    }
    const frame = this.frames[low];
    const within =
      frame && rawOffset >= frame.rawOffset && rawOffset + length <= frame.rawOffset + frame.rawBytes;
    return within ? low : undefined;
  }

  /** The blob at this range, if it has this SHA-256; a view as of `readFrame`. @throws damaged */
  *readBlob(rawOffset: number, length: number, digest: Uint8Array): Fetch<Uint8Array> {
    const index = this.frameOf(rawOffset, length);
    if (index === undefined)
      throw damagedObject(this.name, `it has no blob of ${length} bytes at ${rawOffset}`);
    const raw = yield* this.readFrame(index);
    const start = rawOffset - this.frames[index]!.rawOffset;
    const blob = raw.subarray(start, start + length);
    if (!equalBytes(createHash('sha256').update(blob).digest(), digest))
      throw damagedObject(
        this.name,
        `the blob of ${length} bytes at ${rawOffset} has another SHA-256 than it should`,
      );
    return blob;
  }

  /** For a check of everything: that the padding is what stock zstd will skip. @throws damaged */
  *checkPadding(): Fetch<void> {
    const { offset, length } = this.#padding;
    if (length === 0) return;
    try {
      if (!isPaddingFrame(yield* this.#payload.read(offset, length)))
        throw new Error('what should be padding is something else');
    } catch (error) {
      throw namingDamage(this.name, error);
    }
  }

  /** The whole raw stream of a document of at most `maxBytes`. @throws damaged */
  *readDocument(maxBytes: number): Fetch<Uint8Array> {
    if (this.rawBytes > maxBytes)
      throw damagedObject(this.name, `it holds ${this.rawBytes} bytes where ${maxBytes} are allowed`);
    const document = new Uint8Array(this.rawBytes);
    for (const [index, { rawOffset }] of this.frames.entries())
      document.set(yield* this.readFrame(index), rawOffset);
    return document;
  }
}

interface FrameLayout {
  readonly frames: readonly PackFrame[];
  readonly rawBytes: number;
  readonly padding: { readonly offset: number; readonly length: number };
}

function layOutFrames(
  entries: readonly { compressedBytes: number; rawBytes: number }[],
  framesEnd: number,
): FrameLayout {
  const frames: PackFrame[] = [];
  let offset = 0;
  let rawOffset = 0;
  let padding = { offset: 0, length: 0 };
  for (const [index, { compressedBytes, rawBytes }] of entries.entries()) {
    if (rawBytes === 0) {
      if (index !== entries.length - 1) throw new Error(`frame ${index} of its seek table is empty`);
      padding = { offset, length: compressedBytes };
    } else {
      if (rawBytes > limits.blob || compressedBytes > limits.compressedFrame)
        throw new Error(`frame ${index} is larger than a frame may be`);
      frames.push({ rawOffset, rawBytes, offset, compressedBytes });
    }
    offset += compressedBytes;
    rawOffset += rawBytes;
  }
  if (offset !== framesEnd) throw new Error('its seek table does not add up to its size');
  if (rawOffset > limits.rawStream)
    throw new Error(`its raw stream is larger than ${limits.rawStream} bytes`);
  return { frames, rawBytes: rawOffset, padding };
}

/** Random access to an age payload (C2SP age.md "Payload"): the chunks that a range lies in, fetched in one go. */
class PayloadReader {
  readonly plaintextBytes: number;
  readonly #key: ReturnType<typeof derivePayloadKey>;
  readonly #firstChunkAt: number;
  readonly #chunks: number;
  // Neighbouring ranges share a chunk, and the seek table is mostly in the last one: those two are kept.
  #lastChunk: Uint8Array = new Uint8Array(0);
  #recent: { index: number; plaintext: Uint8Array } = { index: -1, plaintext: new Uint8Array(0) };

  private constructor(
    object: SealedObject,
    key: ReturnType<typeof derivePayloadKey>,
    chunks: number,
    plaintextBytes: number,
  ) {
    this.#key = key;
    this.#firstChunkAt = object.headerBytes + payloadNonceBytes;
    this.#chunks = chunks;
    this.plaintextBytes = plaintextBytes;
  }

  /** A size is only as good as the last chunk, which therefore is verified first. */
  static *open(object: SealedObject): Fetch<PayloadReader> {
    const { sizeBytes, headerBytes, fileKey } = object;
    if (sizeBytes > limits.storedObject) throw new Error(`it is larger than ${limits.storedObject} bytes`);
    const { chunks, plaintextBytes } = payloadLayout(sizeBytes - headerBytes);
    const nonce = yield { offset: headerBytes, length: payloadNonceBytes };
    if (nonce.length !== payloadNonceBytes) throw new Error('it is shorter than its size');
    const payload = new PayloadReader(object, derivePayloadKey(fileKey, nonce), chunks, plaintextBytes);
    // With the chunk before the last one the whole seek table is there as a rule.
    const [beforeLast, last] = yield* payload.#fetchChunks(Math.max(0, chunks - 2), chunks);
    payload.#lastChunk = (chunks > 1 ? last : beforeLast)!;
    if (chunks > 1) payload.#recent = { index: chunks - 2, plaintext: beforeLast! };
    return payload;
  }

  /** In memory of its own. */
  *read(offset: number, length: number): Fetch<Uint8Array> {
    const out = new Uint8Array(length);
    const end = offset + length;
    let index = Math.floor(offset / chunkBytes);
    const indexEnd = Math.ceil(end / chunkBytes);
    let held = this.#held(index);
    while (index < indexEnd && held) {
      copyOverlap(out, offset, held, index * chunkBytes);
      held = this.#held(++index);
    }
    if (index >= indexEnd) return out;
    const fetchEnd = indexEnd === this.#chunks ? this.#chunks - 1 : indexEnd;
    const fetched = index < fetchEnd ? yield* this.#fetchChunks(index, fetchEnd) : [];
    for (const plaintext of fetched) {
      releaseMemory(this.#recent.plaintext);
      this.#recent = { index, plaintext };
      copyOverlap(out, offset, plaintext, index++ * chunkBytes);
    }
    if (index < indexEnd) copyOverlap(out, offset, this.#lastChunk, index * chunkBytes);
    return out;
  }

  #held(index: number): Uint8Array | undefined {
    if (index === this.#recent.index) return this.#recent.plaintext;
    return index === this.#chunks - 1 ? this.#lastChunk : undefined;
  }

  *#fetchChunks(start: number, end: number): Fetch<Uint8Array[]> {
    const offset = this.#firstChunkAt + start * sealedChunkBytes;
    const chunksEnd =
      this.#firstChunkAt + this.plaintextBytes + this.#chunks * (sealedChunkBytes - chunkBytes);
    const length = Math.min(end * sealedChunkBytes + this.#firstChunkAt, chunksEnd) - offset;
    const sealed = yield { offset, length };
    if (sealed.length !== length) throw new Error('it is shorter than its size');
    const plaintexts: Uint8Array[] = [];
    for (let index = start; index < end; index++) {
      const at = (index - start) * sealedChunkBytes;
      const isLast = index === this.#chunks - 1;
      const plaintext = decryptChunk(this.#key, index, isLast, sealed.subarray(at, at + sealedChunkBytes));
      if (!plaintext) throw new Error(`chunk ${index} of its payload is altered or out of place`);
      plaintexts.push(plaintext);
    }
    return plaintexts;
  }
}

/** Copies what lies in both: `out` begins at `outOffset`, `chunk` at `chunkOffset`. */
function copyOverlap(out: Uint8Array, outOffset: number, chunk: Uint8Array, chunkOffset: number): void {
  const start = Math.max(outOffset, chunkOffset);
  const end = Math.min(outOffset + out.length, chunkOffset + chunk.length);
  if (start < end) out.set(chunk.subarray(start - chunkOffset, end - chunkOffset), start - outOffset);
}
