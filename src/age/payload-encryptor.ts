import type { KeyObject } from 'node:crypto';
import {
  chunkBytes,
  derivePayloadKey,
  encryptChunk,
  generatePayloadNonce,
  payloadNonceBytes,
} from './payload.ts';

/**
 * Encrypts a plaintext that arrives in pieces of any size. What `push` and `finish` return are parts to be written one
 * after the other; together they are the payload, nonce first. Holds one chunk at most.
 */
export class PayloadEncryptor {
  readonly #key: KeyObject;
  #nonce: Uint8Array | undefined;
  // Room for one chunk, made when first needed: what is pushed in multiples of a chunk goes round it but for the last.
  #pending: Uint8Array | undefined;
  #pendingBytes = 0;
  #index = 0;

  /** `nonce` is for tests and for known answers only: it must be random and never used again with this file key. */
  constructor(fileKey: Uint8Array, nonce: Uint8Array = generatePayloadNonce()) {
    if (nonce.length !== payloadNonceBytes) throw new RangeError('a payload nonce has 16 bytes');
    this.#nonce = nonce;
    this.#key = derivePayloadKey(fileKey, nonce);
  }

  /** The parts that are settled. Takes what it needs of `plaintext` before it returns: the caller may reuse it. */
  push(plaintext: Uint8Array): Uint8Array[] {
    const parts = this.#start();
    let offset = 0;
    // A full chunk is sealed only when a byte follows it: only then is it certain not to be the last.
    if (this.#pendingBytes > 0) {
      offset = this.#hold(plaintext);
      if (offset === plaintext.length) return parts;
      this.#sealPending(parts, false);
    }
    for (; plaintext.length - offset > chunkBytes; offset += chunkBytes)
      parts.push(
        ...encryptChunk(this.#key, this.#index++, false, plaintext.subarray(offset, offset + chunkBytes)),
      );
    this.#hold(plaintext.subarray(offset));
    return parts;
  }

  /** The last parts. Nothing may be pushed after it. */
  finish(): Uint8Array[] {
    const parts = this.#start();
    this.#sealPending(parts, true);
    return parts;
  }

  #start(): Uint8Array[] {
    const parts = this.#nonce ? [this.#nonce] : [];
    this.#nonce = undefined;
    return parts;
  }

  /** Copies what fits into the pending chunk and says how much that was. */
  #hold(plaintext: Uint8Array): number {
    this.#pending ??= new Uint8Array(chunkBytes);
    const taken = plaintext.subarray(0, chunkBytes - this.#pendingBytes);
    this.#pending.set(taken, this.#pendingBytes);
    this.#pendingBytes += taken.length;
    return taken.length;
  }

  #sealPending(parts: Uint8Array[], isLast: boolean): void {
    const chunk = (this.#pending ?? new Uint8Array(0)).subarray(0, this.#pendingBytes);
    parts.push(...encryptChunk(this.#key, this.#index++, isLast, chunk));
    this.#pendingBytes = 0;
  }
}
