import { createSecretKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { concatBytes } from '../bytes/bytes.ts';
import { randomBytes } from '../clock/random.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { open, seal, tagBytes } from './chacha20-poly1305.ts';
import { hkdf } from './hkdf.ts';

/** Plaintext bytes of every chunk but the last (C2SP age.md "Payload"). */
export const chunkBytes: number = 64 * 1024;
/** The same chunk as it is stored. */
export const sealedChunkBytes: number = chunkBytes + tagBytes;
/** Random bytes in front of the first chunk. */
export const payloadNonceBytes = 16;

export function generatePayloadNonce(): Uint8Array<ArrayBuffer> {
  return randomBytes(payloadNonceBytes);
}

/** A key object, since raw bytes would be made into one again for every chunk. */
export function derivePayloadKey(fileKey: Uint8Array, nonce: Uint8Array): KeyObject {
  return createSecretKey(hkdf(fileKey, nonce, 'payload'));
}

/** Seals chunk `index`. The plaintext is not copied; the two parts belong one after the other. */
export function encryptChunk(
  payloadKey: KeyObject,
  index: number,
  isLast: boolean,
  plaintext: Uint8Array,
): [ciphertext: Uint8Array, tag: Uint8Array] {
  return seal(payloadKey, chunkNonce(index, isLast), plaintext);
}

/** The plaintext, or undefined if these bytes are not chunk `index`, with that finality, of this payload. */
export function decryptChunk(
  payloadKey: KeyObject,
  index: number,
  isLast: boolean,
  sealed: Uint8Array,
): Uint8Array | undefined {
  return open(payloadKey, chunkNonce(index, isLast), sealed);
}

/** An 11-byte big-endian counter, of which no file fills more than six, and a byte that marks the last chunk. */
function chunkNonce(index: number, isLast: boolean): Uint8Array {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(index, 5, 6);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

/** How a payload of a given stored size is divided. */
export interface PayloadLayout {
  /** Chunks, at least one. */
  readonly chunks: number;
  /** Plaintext bytes in total. */
  readonly plaintextBytes: number;
}

/** Chunks of a plaintext; an empty one has one empty chunk. */
export function countChunks(plaintextBytes: number): number {
  return Math.max(1, Math.ceil(plaintextBytes / chunkBytes));
}

/** Stored bytes, nonce included, of a payload. */
export function encryptedPayloadBytes(plaintextBytes: number): number {
  return payloadNonceBytes + plaintextBytes + countChunks(plaintextBytes) * tagBytes;
}

/**
 * What a payload (nonce included) of this stored size must look like. Only a size, so to be trusted no more than the
 * last chunk, which is to be verified as last before anything is concluded from it.
 * @throws age-payload if no payload has this size
 */
export function payloadLayout(storedBytes: number): PayloadLayout {
  const sealedBytes = storedBytes - payloadNonceBytes;
  const chunks = Math.ceil(sealedBytes / sealedChunkBytes);
  const plaintextBytes = sealedBytes - chunks * tagBytes;
  if (sealedBytes < tagBytes || countChunks(plaintextBytes) !== chunks)
    throw new SalvageError(
      'age-payload',
      `Cannot decrypt the payload: no whole payload has ${storedBytes} bytes, it was cut short`,
    );
  return { chunks, plaintextBytes };
}

/** What the bytes of chunk `index` are blamed for when they do not decrypt. */
export function brokenChunk(index: number): SalvageError {
  return new SalvageError(
    'age-payload',
    `Cannot decrypt the payload: chunk ${index} (from plaintext byte ${index * chunkBytes}) is damaged, cut short or out of place`,
    { details: { chunk: index } },
  );
}

/**
 * Encrypts a plaintext held in memory: [nonce, ciphertext, tag, ciphertext, tag, …], to be written one after the other
 * (writev) without joining them.
 */
export function encryptPayload(fileKey: Uint8Array, plaintext: Uint8Array): Uint8Array[] {
  const nonce = generatePayloadNonce();
  const key = derivePayloadKey(fileKey, nonce);
  const parts: Uint8Array[] = [nonce];
  const chunks = countChunks(plaintext.length);
  for (let index = 0; index < chunks; index++) {
    const chunk = plaintext.subarray(index * chunkBytes, (index + 1) * chunkBytes);
    parts.push(...encryptChunk(key, index, index === chunks - 1, chunk));
  }
  return parts;
}

/** Decrypts a payload (nonce included) held in memory. @throws age-payload, and then nothing is released */
export function decryptPayload(fileKey: Uint8Array, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const { chunks } = payloadLayout(payload.length);
  const key = derivePayloadKey(fileKey, payload.subarray(0, payloadNonceBytes));
  const sealed = payload.subarray(payloadNonceBytes);
  const parts: Uint8Array[] = [];
  for (let index = 0; index < chunks; index++) {
    const chunk = sealed.subarray(index * sealedChunkBytes, (index + 1) * sealedChunkBytes);
    const plaintext = decryptChunk(key, index, index === chunks - 1, chunk);
    if (!plaintext) throw brokenChunk(index);
    parts.push(plaintext);
  }
  return concatBytes(parts);
}
