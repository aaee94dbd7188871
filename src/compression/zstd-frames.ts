import { SalvageError } from '../errors/salvage-error.ts';

/** Some bytes of one zstd frame. */
export interface FramePiece {
  readonly bytes: Uint8Array;
  /** The frame's last piece. */
  readonly last: boolean;
}

const zstdMagic = 0xfd2fb528;
const skippableMagic = 0x184d2a50;
/** Magic, descriptor, window, dictionary id, content size (RFC 8878, section 3.1.1.1). */
const longestHeader = 4 + 1 + 1 + 4 + 8;

/**
 * Finds where each zstd frame of a stream ends (RFC 8878, section 3.1), without decompressing: Node's decompressor stops
 * at the end of the first frame, and does not notice when that end is missing.
 */
export class ZstdFrames {
  #state: 'between' | 'magic' | 'frame header' | 'block header' | 'content' = 'between';
  readonly #header: Buffer = Buffer.alloc(longestHeader);
  #headerBytes = 0;
  #headerWanted = 4;
  /** Bytes of a block (or of a skippable frame, or the checksum) still to come. */
  #content = 0;
  #lastBlock = false;
  #checksumBytes = 0;

  /** False between two frames, where a stream may end. */
  get insideFrame(): boolean {
    return this.#state !== 'between';
  }

  /** The pieces of frames that these bytes hold, as views of them. @throws SalvageError 'damaged' for no zstd frame */
  *push(bytes: Uint8Array): Generator<FramePiece> {
    let start = 0;
    let offset = 0;
    while (offset < bytes.length) {
      if (this.#state === 'content') {
        const length = Math.min(this.#content, bytes.length - offset);
        offset += length;
        this.#content -= length;
        if (this.#content === 0) this.#endContent();
      } else {
        if (this.#state === 'between') this.#expectHeader('magic', 4);
        this.#header[this.#headerBytes++] = bytes[offset++]!;
        if (this.#headerBytes === this.#headerWanted) this.#readHeader();
      }
      if (this.#state === 'between') {
        yield { bytes: bytes.subarray(start, offset), last: true };
        start = offset;
      }
    }
    if (start < offset) yield { bytes: bytes.subarray(start, offset), last: false };
  }

  #expectHeader(state: 'magic' | 'block header', length: number): void {
    this.#state = state;
    this.#headerBytes = 0;
    this.#headerWanted = length;
  }

  #readHeader(): void {
    const header = this.#header;
    if (this.#state === 'magic') {
      const magic = header.readUInt32LE(0);
      const skippable = (magic & 0xfffffff0) >>> 0 === skippableMagic;
      if (magic !== zstdMagic && !skippable) {
        throw new SalvageError('damaged', 'Cannot decompress the archive: other data follows a zstd frame');
      }
      this.#state = 'frame header';
      this.#headerWanted = skippable ? 8 : 5;
    } else if (this.#state === 'frame header') {
      if (header.readUInt32LE(0) !== zstdMagic) {
        this.#lastBlock = true;
        this.#checksumBytes = 0;
        this.#beginContent(header.readUInt32LE(4));
        return;
      }
      const length = frameHeaderLength(header[4]!);
      this.#checksumBytes = header[4]! & 0x04 ? 4 : 0;
      if (this.#headerBytes < length) this.#headerWanted = length;
      else this.#expectHeader('block header', 3);
    } else {
      const block = header.readUIntLE(0, 3);
      const type = (block >> 1) & 3;
      this.#lastBlock = (block & 1) === 1;
      // A block of type 1 is one byte, repeated.
      this.#beginContent(type === 1 ? 1 : block >> 3);
    }
  }

  #beginContent(length: number): void {
    this.#state = 'content';
    this.#content = length;
    if (length === 0) this.#endContent();
  }

  #endContent(): void {
    if (!this.#lastBlock) this.#expectHeader('block header', 3);
    else if (this.#checksumBytes > 0) {
      const length = this.#checksumBytes;
      this.#checksumBytes = 0;
      this.#beginContent(length);
    } else this.#state = 'between';
  }
}

function frameHeaderLength(descriptor: number): number {
  const singleSegment = (descriptor & 0x20) !== 0;
  const contentSize = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  return 4 + 1 + (singleSegment ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]! + contentSize;
}
