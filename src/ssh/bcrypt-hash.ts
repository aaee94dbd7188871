import { createHash } from 'node:crypto';
import { asBuffer, concatBytes } from '../bytes/bytes.ts';
import { encipher, expandKey, initialBlowfishState } from './blowfish.ts';
import { encodeUint32 } from './wire-writer.ts';

/** One thing for each of the two output blocks. */
type Pair = readonly [Uint8Array, Uint8Array];

const magic = Buffer.from('OxychromaticBlowfishSwatDynamite');

/**
 * Output blocks 1 and 2 of bcrypt_pbkdf: 32 bytes each, the XOR of `rounds` chained bcrypt hashes. Takes some 6 ms per
 * round and blocks the thread: meant for a worker.
 */
export function bcryptBlocks(passphrase: Uint8Array, salt: Uint8Array, rounds: number): Pair {
  const key = sha512(passphrase);
  const keys = alternatingWords([key, key]);
  const numberedSalt = (number: number): Uint8Array => sha512(concatBytes([salt, encodeUint32(number)]));
  let hashes = bcryptHashes(keys, [numberedSalt(1), numberedSalt(2)]);
  const sums: Pair = [Uint8Array.from(hashes[0]), Uint8Array.from(hashes[1])];
  for (let round = 1; round < rounds; round++) {
    hashes = bcryptHashes(keys, [sha512(hashes[0]), sha512(hashes[1])]);
    for (let at = 0; at < magic.length; at++) {
      sums[0][at]! ^= hashes[0][at]!;
      sums[1][at]! ^= hashes[1][at]!;
    }
  }
  return sums;
}

/** bcrypt with SHA-512 digests for key and salt, 2^6 iterations and a longer magic text. */
function bcryptHashes(keys: Int32Array, saltDigests: Pair): Pair {
  const salts = alternatingWords(saltDigests);
  const state = initialBlowfishState();
  expandKey(state, keys, salts);
  for (let iteration = 0; iteration < 64; iteration++) {
    expandKey(state, salts);
    expandKey(state, keys);
  }
  const texts = alternatingWords([magic, magic]);
  for (let at = 0; at < texts.length; at += 4) encipher(state, texts.subarray(at, at + 4), 64);
  const hashes = [Buffer.alloc(magic.length), Buffer.alloc(magic.length)] as const;
  for (const [index, word] of texts.entries()) hashes[index % 2]!.writeInt32LE(word, (index >>> 1) * 4);
  return hashes;
}

/** The words of both, first one of the first, then one of the second, as blowfish.ts has them. */
function alternatingWords(pair: Pair): Int32Array {
  const [first, second] = pair.map((bytes) => asBuffer(bytes)) as [Buffer, Buffer];
  return Int32Array.from({ length: first.length / 2 }, (_, index) =>
    (index % 2 === 0 ? first : second).readInt32BE((index >>> 1) * 4),
  );
}

function sha512(bytes: Uint8Array): Uint8Array {
  return createHash('sha512').update(bytes).digest();
}
