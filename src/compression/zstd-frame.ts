import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { SalvageError } from '../errors/salvage-error.ts';
import { zstdParameters } from './zstd-parameters.ts';

// RFC 8878, "Zstandard Frames".
const frameMagic = 0xfd2fb528;
// A decoder may be asked to keep this much: the largest frame of the format is 4 MiB.
const largestWindowLog = 23;

/** An upper bound of the compressed size (zstd's own ZSTD_COMPRESSBOUND, and a little). */
export function compressedBound(rawBytes: number): number {
  return rawBytes + Math.ceil(rawBytes / 256) + 512;
}

/**
 * One zstd frame with the content size in its header and without a checksum: what is inside has a digest of its own.
 * Data that does not compress costs next to nothing at any level (zstd sees it by itself), so the level is not chosen by
 * content.
 */
export function compressFrame(raw: Uint8Array, level: number): Uint8Array {
  return zstdCompressSync(raw, {
    // One output buffer of the right size: joining small ones costs a third of the speed.
    chunkSize: Math.max(64, compressedBound(raw.length)),
    params: zstdParameters(level),
  });
}

/**
 * The content of one zstd frame, which must have exactly `rawBytes` bytes (at least 1): no more than that is ever
 * allocated for it. @throws damaged
 */
export function decompressFrame(frame: Uint8Array, rawBytes: number): Uint8Array {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < 5 || view.getUint32(0, true) !== frameMagic)
    throw broken('it does not begin with a zstd frame');
  let raw: Uint8Array;
  try {
    raw = zstdDecompressSync(frame, {
      maxOutputLength: rawBytes,
      // A buffer that gets full to the brim makes zlib allocate another one.
      chunkSize: rawBytes + 64,
      params: { [constants.ZSTD_d_windowLogMax]: largestWindowLog },
    });
  } catch (cause) {
    throw broken((cause as Error).message, cause);
  }
  if (raw.length !== rawBytes) throw broken(`it holds ${raw.length} bytes where ${rawBytes} are due`);
  return raw;
}

function broken(state: string, cause?: unknown): SalvageError {
  return new SalvageError(
    'damaged',
    `Cannot decompress a frame: ${state}`,
    cause === undefined ? {} : { cause },
  );
}
