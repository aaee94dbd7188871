import { createHash } from 'node:crypto';
import type { Envelope } from '../../age/envelope.ts';
import { PayloadEncryptor } from '../../age/payload-encryptor.ts';
import { equalBytes } from '../../bytes/bytes.ts';
import { releaseMemory } from '../../bytes/release-memory.ts';
import { padmeBytes } from '../../compression/padme.ts';
import { encodeSeekTable, seekTableBytes, type SeekEntry } from '../../compression/seek-table.ts';
import { paddingFrame, skippableHeaderBytes } from '../../compression/skippable-frame.ts';
import { compressFrame, decompressFrame } from '../../compression/zstd-frame.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { ObjectDigest } from '../ids.ts';
import { limits } from '../limits.ts';
import { BlobList } from './blob-list.ts';

export interface PackWriterOptions {
  /** Stored size from which on the pack is full; the frame that reaches it is still in. Default 16 MiB. */
  readonly targetBytes?: number;
  /** zstd's, default 3. */
  readonly level?: number;
  /** Decode every frame again and compare before it is let go: finds bad memory while the source is still there. */
  readonly checkFrames?: boolean;
  /** Where stored bytes go as soon as they are settled, in order. Default: they are kept for `parts`. */
  readonly takeParts?: (parts: readonly Uint8Array[]) => void;
}

/** A pack, encrypted and named, ready to be stored under `packName(id)`. */
export interface FinishedPack {
  /** SHA-256 of the stored bytes. */
  readonly id: ObjectDigest;
  /** The stored bytes, in order; none if they were taken before. */
  readonly parts: readonly Uint8Array[];
  readonly sizeBytes: number;
  readonly rawBytes: number;
  readonly blobs: BlobList;
}

/**
 * `full`: the stored size is rounded up to whole chunks of 64 KiB; `last`, for the last pack of a run and for everything
 * that is no pack: to a Padmé size.
 */
export type PackPadding = 'full' | 'last';

const fullStepBytes = 64 * 1024;
/** Of tiny files a pack of the usual size has so many that their list would be larger than they are. */
const mostBlobs = 65_536;

/**
 * Fills one pack (docs/design/format.md "Packs"): blobs go into frames, frames through zstd straight into age's payload.
 * Synchronous, for worker threads. What it holds is one frame, and the encrypted pack if nobody takes it.
 */
export class PackWriter {
  readonly #header: Uint8Array;
  readonly #encryptor: PayloadEncryptor;
  readonly #hash = createHash('sha256');
  readonly #parts: Uint8Array[] = [];
  readonly #entries: SeekEntry[] = [];
  readonly #blobs = new BlobList();
  readonly #targetBytes: number;
  readonly #level: number;
  readonly #checkFrames: boolean;
  readonly #takeParts: ((parts: readonly Uint8Array[]) => void) | undefined;
  readonly #frame: Buffer = Buffer.allocUnsafe(limits.sharedFrame);
  #frameBytes = 0;
  #plaintextBytes = 0;
  #storedBytes = 0;
  #rawBytes = 0;

  /** The envelope is for this pack alone. */
  constructor(envelope: Envelope, options: PackWriterOptions = {}) {
    const { smallest, largest } = limits.packTarget;
    this.#targetBytes = Math.min(options.targetBytes ?? smallest, largest);
    this.#level = options.level ?? 3;
    this.#checkFrames = options.checkFrames ?? false;
    this.#takeParts = options.takeParts;
    this.#header = envelope.header;
    this.#encryptor = new PayloadEncryptor(envelope.fileKey);
    this.#keep([this.#header]);
  }

  get isEmpty(): boolean {
    return this.#rawBytes === 0;
  }

  /** Once true, `finish` has to be called and nothing may be added. */
  get isFull(): boolean {
    return (
      this.#plaintextBytes >= this.#targetBytes ||
      this.#rawBytes > limits.rawStream - limits.blob ||
      this.#blobs.count >= mostBlobs ||
      // Room for the frame that waits, for one more blob and for the padding.
      this.#entries.length >= limits.frames - 4
    );
  }

  /** Bytes of the raw stream so far. */
  get rawBytes(): number {
    return this.#rawBytes;
  }

  /**
   * Appends a blob of 1 byte to 4 MiB and returns its offset in the raw stream. The bytes may be reused afterwards. With
   * its digest (SHA-256) it is listed in the finished pack's `blobs`.
   */
  add(blob: Uint8Array, digest?: Uint8Array): number {
    if (blob.length < 1 || blob.length > limits.blob) throw new RangeError(`a blob of ${blob.length} bytes`);
    const offset = this.#rawBytes;
    if (blob.length > this.#frame.length - this.#frameBytes) this.#flushFrame();
    if (blob.length >= this.#frame.length) {
      this.#addFrame(blob);
    } else {
      this.#frame.set(blob, this.#frameBytes);
      this.#frameBytes += blob.length;
    }
    this.#rawBytes += blob.length;
    if (digest) this.#blobs.add(digest, blob.length);
    return offset;
  }

  /** Pads, closes and names the pack. The writer is used up. */
  finish(padding: PackPadding): FinishedPack {
    this.#flushFrame();
    const tableBytes = seekTableBytes(this.#entries.length + 1);
    const leastBytes = this.#plaintextBytes + skippableHeaderBytes + tableBytes;
    const paddedBytes =
      padding === 'full' ? Math.ceil(leastBytes / fullStepBytes) * fullStepBytes : padmeBytes(leastBytes);
    this.#addStoredFrame(paddingFrame(paddedBytes - leastBytes), 0);
    this.#keep(this.#encryptor.push(encodeSeekTable(this.#entries)));
    this.#keep(this.#encryptor.finish());
    return {
      id: this.#hash.digest('hex') as ObjectDigest,
      parts: this.#parts,
      sizeBytes: this.#storedBytes,
      rawBytes: this.#rawBytes,
      blobs: this.#blobs,
    };
  }

  #flushFrame(): void {
    if (this.#frameBytes === 0) return;
    this.#addFrame(this.#frame.subarray(0, this.#frameBytes));
    this.#frameBytes = 0;
  }

  #addFrame(raw: Uint8Array): void {
    const frame = compressFrame(raw, this.#level);
    if (this.#checkFrames) checkFrame(frame, raw);
    this.#addStoredFrame(frame, raw.length);
  }

  #addStoredFrame(frame: Uint8Array, rawBytes: number): void {
    this.#entries.push({ compressedBytes: frame.length, rawBytes });
    this.#plaintextBytes += frame.length;
    this.#keep(this.#encryptor.push(frame));
    // The encryptor has taken what it needs.
    releaseMemory(frame);
  }

  #keep(parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      this.#hash.update(part);
      this.#storedBytes += part.length;
      if (!this.#takeParts) this.#parts.push(part);
    }
    this.#takeParts?.(parts);
  }
}

function checkFrame(frame: Uint8Array, raw: Uint8Array): void {
  const decoded = decompressFrame(frame, raw.length);
  if (!equalBytes(decoded, raw))
    throw new SalvageError(
      'failed',
      'Cannot trust this machine: a frame just compressed does not decompress to the same bytes',
      {
        hint: 'Test its memory, for example with memtest86+, before backing up again.',
      },
    );
  releaseMemory(decoded);
}

/** A document that is no pack (root.age, an index object), in the form of one. */
export function sealDocument(envelope: Envelope, document: Uint8Array, level = 3): FinishedPack {
  const writer = new PackWriter(envelope, { level });
  for (let at = 0; at < document.length; at += limits.sharedFrame)
    writer.add(document.subarray(at, at + limits.sharedFrame));
  return writer.finish('last');
}

/**
 * The size at which packs of a repository should be closed, given what it stores in all: the square root of it in units of
 * 16 KiB, within the limits of the format. So the list of packs stays short, and packs of small repositories small.
 */
export function packTargetBytes(repositoryBytes: number): number {
  const { smallest, largest } = limits.packTarget;
  return Math.round(Math.min(largest, Math.max(smallest, Math.sqrt(repositoryBytes * 16_384))));
}
