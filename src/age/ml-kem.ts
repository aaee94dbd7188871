import { createHash, createPrivateKey, createPublicKey, decapsulate, encapsulate } from 'node:crypto';
import { concatBytes, utf8Bytes } from '../bytes/bytes.ts';

/** Sizes of ML-KEM-768 (FIPS 203). */
export const encapsulationKeyBytes = 1184;
export const mlKemCiphertextBytes = 1088;
export const mlKemSeedBytes = 64;

// Node takes raw keys only inside these DER wrappers (RFC 9935).
const seedPrefix = Buffer.from('3054020100300b060960864801650304040204428040', 'hex');
const publicKeyPrefix = Buffer.from('308204b2300b0609608648016503040402038204a100', 'hex');

export interface Encapsulation {
  readonly sharedSecret: Uint8Array;
  readonly ciphertext: Uint8Array;
}

/** A fresh shared secret for the holder of the seed, or undefined if the encapsulation key is not a valid one. */
export function mlKemEncapsulate(encapsulationKey: Uint8Array): Encapsulation | undefined {
  const key = Buffer.from(concatBytes([publicKeyPrefix, encapsulationKey]).buffer);
  try {
    const { sharedKey, ciphertext } = encapsulate(createPublicKey({ key, format: 'der', type: 'spki' }));
    return { sharedSecret: sharedKey, ciphertext };
  } catch {
    return undefined;
  }
}

/** The shared secret; for a ciphertext that was not made with this key one that nobody else has (implicit rejection). */
export function mlKemDecapsulate(seed: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  return decapsulate(importSeed(seed), ciphertext);
}

export function mlKemEncapsulationKey(seed: Uint8Array): Uint8Array<ArrayBuffer> {
  const der = createPublicKey(importSeed(seed)).export({ format: 'der', type: 'spki' });
  return Uint8Array.from(der.subarray(publicKeyPrefix.length));
}

function importSeed(seed: Uint8Array): ReturnType<typeof createPrivateKey> {
  const key = Buffer.from(concatBytes([seedPrefix, seed]).buffer);
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
}

/** The halves of a hybrid key exchange, to be combined into one secret that holds as long as either half does. */
export interface HybridSecrets {
  readonly mlKem: Uint8Array;
  readonly diffieHellman: Uint8Array;
  /** The ephemeral public key and the recipient's, of the classic half. */
  readonly ephemeral: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** The combiner of X-Wing and its siblings; `label` tells them apart. */
export function combineHybridSecrets(secrets: HybridSecrets, label: string): Uint8Array {
  const hash = createHash('sha3-256');
  for (const part of [secrets.mlKem, secrets.diffieHellman, secrets.ephemeral, secrets.publicKey])
    hash.update(part);
  return hash.update(utf8Bytes(label)).digest();
}
