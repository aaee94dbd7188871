import { randomFillSync } from 'node:crypto';

/** The only source of randomness: cryptographically secure bytes from the operating system's generator. */
export function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  return randomFillSync(new Uint8Array(length));
}

/** A number from 0 up to, not including, 1: to spread attempts in time, not for secrets. */
export function randomFraction(): number {
  return new DataView(randomBytes(4).buffer).getUint32(0) / 2 ** 32;
}
