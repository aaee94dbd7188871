import { createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto';
import { concatBytes } from '../bytes/bytes.ts';

/** Bytes of an X25519 scalar, point and shared secret (RFC 7748). */
export const pointBytes = 32;

// Node takes raw keys only inside these DER wrappers (RFC 8410).
const privateKeyPrefix = Buffer.from('302e020100300506032b656e04220420', 'hex');
const publicKeyPrefix = Buffer.from('302a300506032b656e032100', 'hex');

/** X25519(scalar, point), or undefined if the result is all zero, which a low-order point makes it. */
export function x25519(scalar: Uint8Array, point: Uint8Array): Uint8Array | undefined {
  try {
    return diffieHellman({ privateKey: importPrivate(scalar), publicKey: importPublic(point) });
  } catch {
    // OpenSSL refuses an all-zero result by itself. The lengths are constant and checked by the callers.
    return undefined;
  }
}

/** X25519(scalar, 9): the public key of a private one. */
export function x25519PublicKey(scalar: Uint8Array): Uint8Array<ArrayBuffer> {
  const der = createPublicKey(importPrivate(scalar)).export({ format: 'der', type: 'spki' });
  return Uint8Array.from(der.subarray(publicKeyPrefix.length));
}

function importPrivate(scalar: Uint8Array): ReturnType<typeof createPrivateKey> {
  const key = Buffer.from(concatBytes([privateKeyPrefix, scalar]).buffer);
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
}

function importPublic(point: Uint8Array): ReturnType<typeof createPublicKey> {
  const key = Buffer.from(concatBytes([publicKeyPrefix, point]).buffer);
  return createPublicKey({ key, format: 'der', type: 'spki' });
}
