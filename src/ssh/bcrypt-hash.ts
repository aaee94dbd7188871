import { createHash } from 'node:crypto';
import { asBuffer, concatBytes } from '../bytes/bytes.ts';
import { encipher, expandKey, initialBlowfishState } from './blowfish.ts';
import { encodeUint32 } from './wire-writer.ts';

const magic = Buffer.from('OxychromaticBlowfishSwatDynamite');

/**
 * Output block `number` (from 1) of bcrypt_pbkdf: 32 bytes, the XOR of `rounds` chained bcrypt hashes. Takes about
 * 4 ms per round and blocks the thread: meant for a worker.
 */
export function bcryptBlock(
  passphrase: Uint8Array,
  salt: Uint8Array,
  rounds: number,
  number: number,
): Uint8Array {
  const key = sha512(passphrase);
  let hash = bcryptHash(key, sha512(concatBytes([salt, encodeUint32(number)])));
  const sum = Uint8Array.from(hash);
  for (let round = 1; round < rounds; round++) {
    hash = bcryptHash(key, sha512(hash));
    for (let at = 0; at < sum.length; at++) sum[at]! ^= hash[at]!;
  }
  return sum;
}

/** bcrypt with SHA-512 digests for key and salt, 2^6 iterations and a longer magic text. */
function bcryptHash(keyDigest: Uint8Array, saltDigest: Uint8Array): Uint8Array {
  const key = words(keyDigest);
  const salt = words(saltDigest);
  const state = initialBlowfishState();
  expandKey(state, key, salt);
  for (let iteration = 0; iteration < 64; iteration++) {
    expandKey(state, salt);
    expandKey(state, key);
  }
  const text = words(magic);
  for (let iteration = 0; iteration < 64; iteration++)
    for (let at = 0; at < text.length; at += 2) encipher(state, text, at);
  const hash = Buffer.alloc(magic.length);
  for (const [index, word] of text.entries()) hash.writeInt32LE(word, index * 4);
  return hash;
}

function words(bytes: Uint8Array): Int32Array {
  const buffer = asBuffer(bytes);
  return Int32Array.from({ length: bytes.length / 4 }, (_, index) => buffer.readInt32BE(index * 4));
}

function sha512(bytes: Uint8Array): Uint8Array {
  return createHash('sha512').update(bytes).digest();
}
