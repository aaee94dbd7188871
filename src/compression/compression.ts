import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import { fastLevel, zstdParameters } from './zstd-parameters.ts';

/** How an archive is compressed inside its encryption. */
export type Compression = 'zstd' | 'gzip' | 'none';

/** The piece of a stream that is compressed on its own: large enough for the window, small enough for memory. */
export const blockBytes: number = 2 << 20;

export interface LevelRange {
  readonly least: number;
  readonly most: number;
  readonly usual: number;
}

/** zstd's usual level over a window of a whole block: within two per cent of the size of the zstd program's level 3, at half the work. */
export const levels: Readonly<Record<Compression, LevelRange>> = {
  zstd: { least: 1, most: 19, usual: fastLevel },
  gzip: { least: 1, most: 9, usual: 6 },
  none: { least: 0, most: 0, usual: 0 },
};

/**
 * One block as a zstd frame (RFC 8878) or gzip member (RFC 1952) of its own. Blocks one after the other are a stream
 * that every zstd or gzip reader reads as one. The result never shares memory with `bytes`.
 */
export function compressBlock(kind: Compression, level: number, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  // Room for the worst case in one piece, and none of Node's shared pool: the output buffer is handed out as it is, and
  // can be passed to another thread.
  const chunkSize = Math.max(64 << 10, bytes.length + (bytes.length >> 7) + 512);
  switch (kind) {
    case 'zstd': {
      // The window need not be larger than the block, and decompressors reserve what the frame announces.
      const windowLog = Math.min(22, Math.max(10, Math.ceil(Math.log2(Math.max(1, bytes.length)))));
      return zstdCompressSync(bytes, {
        chunkSize,
        params: { ...zstdParameters(level), [constants.ZSTD_c_windowLog]: windowLog },
      });
    }
    case 'gzip':
      return gzipSync(bytes, { chunkSize, level });
    case 'none':
      return new Uint8Array(bytes);
  }
}
