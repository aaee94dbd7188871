import { createHash } from 'node:crypto';

// docs/design/format.md "Chunking"; the numbers are part of the format.
const kib = 1024;
/** Content up to this size is one blob. */
export const wholeFileBytes: number = 512 * kib;
export const minBlobBytes: number = 256 * kib;
export const maxBlobBytes: number = 4096 * kib;
/** Up to here a cut is made unlikely (strict mask), after it likely (loose mask), which gathers the sizes round the mean. */
const normalBlobBytes: number = 896 * kib;
const strictMask: number = -1 << (32 - 21);
const looseMask: number = -1 << (32 - 18);

/** Bytes per call of `roll`; `normalBlobBytes - minBlobBytes` is a multiple of it, so that one mask serves a call. */
const scanBytes = kib;

/** Length of the secret from which the gear values come. */
export const chunkerSeedBytes = 32;

/**
 * Finds where content is cut into blobs: at the same places whenever the same content follows the last cut, and with the
 * same seed only. An insertion moves the cuts near it and no others.
 */
export class Chunker {
  readonly #gear: Int32Array;
  readonly #hash = new Int32Array(1);

  /** @throws RangeError if the seed has not `chunkerSeedBytes` bytes */
  constructor(seed: Uint8Array) {
    if (seed.length !== chunkerSeedBytes) throw new RangeError('a chunker seed has 32 bytes');
    this.#gear = deriveGear(seed);
  }

  /**
   * The length of the blob that begins at `start`. `bytes` must hold the rest of the file from there, or at least
   * `maxBlobBytes` of it; `end` is where they end. For content of at most `wholeFileBytes` in all do not ask: it is one blob.
   */
  cut(bytes: Uint8Array, start: number, end: number): number {
    if (end - start <= minBlobBytes) return end - start;
    const normal = Math.min(end, start + normalBlobBytes);
    const last = Math.min(end, start + maxBlobBytes);
    this.#hash[0] = 0;
    // In short calls: V8 optimizes a function that is entered often, and leaves one that loops long four times slower.
    for (let at = start + minBlobBytes; at < last; at += scanBytes) {
      const cut = roll(
        this.#gear,
        bytes,
        at,
        Math.min(last, at + scanBytes),
        at < normal ? strictMask : looseMask,
        this.#hash,
      );
      if (cut > 0) return cut - start;
    }
    return last - start;
  }
}

/** Rolls the hash in `state` on; the position after the first byte at which it has only zeros under `mask`, or 0. */
function roll(
  gear: Int32Array,
  bytes: Uint8Array,
  start: number,
  end: number,
  mask: number,
  state: Int32Array,
): number {
  let hash = state[0]!;
  let at = start;
  while (at < end) {
    hash = ((hash << 1) + gear[bytes[at++]!]!) | 0;
    if ((hash & mask) === 0) return at;
  }
  state[0] = hash;
  return 0;
}

/** 256 values of 32 bits: SHAKE-256 of "salvage-gear-v1" and the seed, 1,024 bytes, little-endian. */
function deriveGear(seed: Uint8Array): Int32Array {
  const bytes = createHash('shake256', { outputLength: 1024 })
    .update('salvage-gear-v1')
    .update(seed)
    .digest();
  return Int32Array.from({ length: 256 }, (_, index) => bytes.readInt32LE(index * 4));
}
