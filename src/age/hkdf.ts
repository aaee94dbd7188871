import { hkdfSync } from 'node:crypto';

/** 32 bytes of HKDF-SHA-256 (RFC 5869), the only size that age uses. */
export function hkdf(
  inputKey: Uint8Array,
  salt: Uint8Array | '',
  info: string | Uint8Array,
): Uint8Array<ArrayBuffer> {
  return new Uint8Array(hkdfSync('sha256', inputKey, salt, info, 32));
}
