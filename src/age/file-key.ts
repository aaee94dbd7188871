import { concatBytes } from '../bytes/bytes.ts';
import { randomBytes } from '../clock/random.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { open, seal, tagBytes } from './chacha20-poly1305.ts';

/** Length of the secret that a header wraps for each recipient (C2SP age.md "File key"). */
export const fileKeyBytes = 16;

// A wrap key is used once, so its nonce can be fixed.
const zeroNonce = new Uint8Array(12);

/** A file key is never used for a second file. */
export function generateFileKey(): Uint8Array<ArrayBuffer> {
  return randomBytes(fileKeyBytes);
}

/** The stanza body of every recipient type that derives a symmetric wrap key. */
export function sealFileKey(wrapKey: Uint8Array, fileKey: Uint8Array): Uint8Array<ArrayBuffer> {
  return concatBytes(seal(wrapKey, zeroNonce, fileKey));
}

/** The file key, or undefined if the body was not made with this wrap key. @throws age-header as checkBodyLength */
export function openFileKey(wrapKey: Uint8Array, body: Uint8Array): Uint8Array | undefined {
  checkBodyLength(body);
  return open(wrapKey, zeroNonce, body);
}

/**
 * To be called before anything is decrypted: a body of another length could be made to open under many keys
 * (partitioning oracle), and a sender would learn which of a restorer's keys fits.
 * @throws age-header
 */
export function checkBodyLength(body: Uint8Array): void {
  if (body.length !== fileKeyBytes + tagBytes)
    throw new SalvageError(
      'age-header',
      `Cannot read the age header: a wrapped file key of ${body.length} bytes where ${fileKeyBytes + tagBytes} are due`,
    );
}
