import { createHmac } from 'node:crypto';
import { concatBytes, utf8Bytes } from '../bytes/bytes.ts';
import { open, seal } from './chacha20-poly1305.ts';

/** The key encapsulation mechanisms that age uses with HPKE (RFC 9180 and draft-ietf-hpke-pq). */
export const kemIds = { dhkemP256: 0x0010, mlkem768p256: 0x0050, mlkem768x25519: 0x647a } as const;
export type KemId = (typeof kemIds)[keyof typeof kemIds];

const hkdfSha256Id = 0x0001;
const chacha20Poly1305Id = 0x0003;
const version = utf8Bytes('HPKE-v1');
const empty = new Uint8Array(0);

/** SealBase for one message, without associated data: `sharedSecret` is what the KEM encapsulated for the recipient. */
export function sealBase(
  kem: KemId,
  sharedSecret: Uint8Array,
  info: string,
  plaintext: Uint8Array,
): Uint8Array {
  const { key, nonce } = scheduleKey(kem, sharedSecret, info);
  return concatBytes(seal(key, nonce, plaintext));
}

/** OpenBase for one message; undefined if it is not authentic. */
export function openBase(
  kem: KemId,
  sharedSecret: Uint8Array,
  info: string,
  sealed: Uint8Array,
): Uint8Array | undefined {
  const { key, nonce } = scheduleKey(kem, sharedSecret, info);
  return open(key, nonce, sealed);
}

/**
 * ExtractAndExpand of DHKEM(P-256, HKDF-SHA256): from the Diffie-Hellman result (the x-coordinate, which is all that a
 * token gives out) to the shared secret. Both points are uncompressed.
 */
export function dhkemP256SharedSecret(
  diffieHellman: Uint8Array,
  encapsulated: Uint8Array,
  publicKey: Uint8Array,
): Uint8Array {
  const suite = concatBytes([utf8Bytes('KEM'), uint16(kemIds.dhkemP256)]);
  const secret = labeledExtract(suite, empty, 'eae_prk', diffieHellman);
  return labeledExpand(suite, secret, 'shared_secret', concatBytes([encapsulated, publicKey]), 32);
}

/** KeySchedule in mode base, section 5.1. */
function scheduleKey(
  kem: KemId,
  sharedSecret: Uint8Array,
  info: string,
): { key: Uint8Array; nonce: Uint8Array } {
  const suite = concatBytes([
    utf8Bytes('HPKE'),
    uint16(kem),
    uint16(hkdfSha256Id),
    uint16(chacha20Poly1305Id),
  ]);
  const modeBase = Uint8Array.of(0);
  const context = concatBytes([
    modeBase,
    labeledExtract(suite, empty, 'psk_id_hash', empty),
    labeledExtract(suite, empty, 'info_hash', utf8Bytes(info)),
  ]);
  const secret = labeledExtract(suite, sharedSecret, 'secret', empty);
  return {
    key: labeledExpand(suite, secret, 'key', context, 32),
    nonce: labeledExpand(suite, secret, 'base_nonce', context, 12),
  };
}

function labeledExtract(
  suite: Uint8Array,
  salt: Uint8Array,
  label: string,
  inputKey: Uint8Array,
): Uint8Array {
  return hkdfExtract(salt, concatBytes([version, suite, utf8Bytes(label), inputKey]));
}

function labeledExpand(
  suite: Uint8Array,
  secret: Uint8Array,
  label: string,
  info: Uint8Array,
  length: number,
): Uint8Array {
  const labeled = concatBytes([uint16(length), version, suite, utf8Bytes(label), info]);
  // One round of HKDF-Expand gives 32 bytes, and no more are asked for.
  return createHmac('sha256', secret).update(labeled).update(Uint8Array.of(1)).digest().subarray(0, length);
}

/** HKDF-Extract-SHA-256. */
export function hkdfExtract(salt: Uint8Array, inputKey: Uint8Array): Uint8Array {
  return createHmac('sha256', salt).update(inputKey).digest();
}

function uint16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}
