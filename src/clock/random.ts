import { randomFillSync } from 'node:crypto';

/** The only source of randomness: cryptographically secure bytes from the operating system's generator. */
export function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  return randomFillSync(new Uint8Array(length));
}
