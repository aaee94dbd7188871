import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

/** Bytes that authentication adds to a plaintext. */
export const tagBytes = 16;

const algorithm = 'chacha20-poly1305';
const options = { authTagLength: tagBytes };

/** ChaCha20-Poly1305 without associated data. The two parts belong one after the other; joining them is left to writev. */
export function seal(
  key: Uint8Array | KeyObject,
  nonce: Uint8Array,
  plaintext: Uint8Array,
): [ciphertext: Uint8Array, tag: Uint8Array] {
  const cipher = createCipheriv(algorithm, key, nonce, options);
  const ciphertext = cipher.update(plaintext);
  cipher.final();
  return [ciphertext, cipher.getAuthTag()];
}

/** The plaintext, or undefined if the sealed bytes (ciphertext with tag) are not authentic under this key and nonce. */
export function open(
  key: Uint8Array | KeyObject,
  nonce: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | undefined {
  if (sealed.length < tagBytes) return undefined;
  const decipher = createDecipheriv(algorithm, key, nonce, options);
  const tagOffset = sealed.length - tagBytes;
  decipher.setAuthTag(sealed.subarray(tagOffset));
  const plaintext = decipher.update(sealed.subarray(0, tagOffset));
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  return plaintext;
}
