import { createCipheriv, createDecipheriv, timingSafeEqual, type CipherGCMTypes } from 'node:crypto';
import { asBuffer, concatBytes } from '../bytes/bytes.ts';

/** A cipher of openssh-key-v1 files (openssh-portable, cipher.c); the passphrase gives key and iv together. */
export interface PrivateKeyCipher {
  readonly keyBytes: number;
  readonly ivBytes: number;
  readonly blockBytes: number;
  /** Length of the tag that follows the encrypted part; 0 for a cipher without authentication. */
  readonly tagBytes: number;
  /** undefined if the tag does not fit. The content is a whole number of blocks. */
  decrypt(key: Uint8Array, iv: Uint8Array, content: Uint8Array, tag: Uint8Array): Uint8Array | undefined;
}

const ciphers: ReadonlyMap<string, PrivateKeyCipher> = new Map([
  ['aes128-ctr', plain('aes-128-ctr', 16, 16, 16)],
  ['aes192-ctr', plain('aes-192-ctr', 24, 16, 16)],
  ['aes256-ctr', plain('aes-256-ctr', 32, 16, 16)],
  ['aes128-cbc', plain('aes-128-cbc', 16, 16, 16)],
  ['aes192-cbc', plain('aes-192-cbc', 24, 16, 16)],
  ['aes256-cbc', plain('aes-256-cbc', 32, 16, 16)],
  ['3des-cbc', plain('des-ede3-cbc', 24, 8, 8)],
  ['aes128-gcm@openssh.com', gcm('aes-128-gcm', 16)],
  ['aes256-gcm@openssh.com', gcm('aes-256-gcm', 32)],
  [
    'chacha20-poly1305@openssh.com',
    { keyBytes: 64, ivBytes: 0, blockBytes: 8, tagBytes: 16, decrypt: decryptChaCha20Poly1305 },
  ],
]);

/** The cipher with OpenSSH's name; undefined if there is none. */
export function findPrivateKeyCipher(name: string): PrivateKeyCipher | undefined {
  return ciphers.get(name);
}

/** Encryption for the one cipher that we write, OpenSSH's default. */
export function encryptAes256Ctr(key: Uint8Array, iv: Uint8Array, content: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-ctr', key, iv);
  return concatBytes([cipher.update(content), cipher.final()]);
}

function plain(name: string, keyBytes: number, ivBytes: number, blockBytes: number): PrivateKeyCipher {
  return {
    keyBytes,
    ivBytes,
    blockBytes,
    tagBytes: 0,
    decrypt(key, iv, content) {
      const decipher = createDecipheriv(name, key, iv).setAutoPadding(false);
      return concatBytes([decipher.update(content), decipher.final()]);
    },
  };
}

function gcm(name: CipherGCMTypes, keyBytes: number): PrivateKeyCipher {
  return {
    keyBytes,
    ivBytes: 12,
    blockBytes: 16,
    tagBytes: 16,
    decrypt(key, iv, content, tag) {
      const decipher = createDecipheriv(name, key, iv, { authTagLength: 16 }).setAuthTag(tag);
      const start = decipher.update(content);
      try {
        return concatBytes([start, decipher.final()]);
      } catch {
        return undefined;
      }
    },
  };
}

/**
 * openssh-portable PROTOCOL.chacha20poly1305 with packet number 0 and no length field: of the 64 key bytes only the
 * first half is used; block 0 of its stream keys Poly1305 over the ciphertext, block 1 onwards encrypts.
 */
function decryptChaCha20Poly1305(
  key: Uint8Array,
  _iv: Uint8Array,
  content: Uint8Array,
  tag: Uint8Array,
): Uint8Array | undefined {
  const macKey = chaCha20(key.subarray(0, 32), 0, new Uint8Array(32));
  if (!timingSafeEqual(poly1305(macKey, content), tag)) return undefined;
  return chaCha20(key.subarray(0, 32), 1, content);
}

function chaCha20(key: Uint8Array, blockCounter: number, content: Uint8Array): Uint8Array {
  const counterAndNonce = new Uint8Array(16);
  counterAndNonce[0] = blockCounter;
  return createDecipheriv('chacha20', key, counterAndNonce).update(content);
}

/** RFC 8439 section 2.5. Simple, and fast enough for a key file. */
export function poly1305(key: Uint8Array, message: Uint8Array): Uint8Array {
  const prime = (1n << 130n) - 5n;
  const r = littleEndian(key.subarray(0, 16)) & 0x0ffffffc0ffffffc0ffffffc0fffffffn;
  let sum = 0n;
  for (let at = 0; at < message.length; at += 16) {
    const block = concatBytes([message.subarray(at, at + 16), Uint8Array.of(1)]);
    sum = ((sum + littleEndian(block)) * r) % prime;
  }
  const mac = (sum + littleEndian(key.subarray(16, 32))) & ((1n << 128n) - 1n);
  return Buffer.from(mac.toString(16).padStart(32, '0'), 'hex').reverse();
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${asBuffer(Uint8Array.from(bytes).reverse()).toString('hex')}`);
}
