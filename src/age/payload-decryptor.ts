import type { KeyObject } from 'node:crypto';
import { SalvageError } from '../errors/salvage-error.ts';
import { tagBytes } from './chacha20-poly1305.ts';
import {
  brokenChunk,
  decryptChunk,
  derivePayloadKey,
  payloadNonceBytes,
  sealedChunkBytes,
} from './payload.ts';

/**
 * Decrypts a payload (nonce included) that arrives in pieces of any size. Every chunk is released as soon as it is
 * authenticated, and nothing that is not; the plaintext is *whole* only once `finish` has returned. Holds one chunk.
 *
 * A failure never takes back what was good: `push` returns the chunks before it, and the next `push` or `finish` throws.
 */
export class PayloadDecryptor {
  readonly #fileKey: Uint8Array | undefined;
  #key: KeyObject | undefined;
  #pending: Uint8Array | undefined;
  #pendingBytes = 0;
  #index = 0;
  #lastSeen = false;
  #failure: SalvageError | undefined;

  /** @param start the file key; or, to begin amid a payload, its key and the chunk that is pushed first */
  constructor(start: Uint8Array | { readonly payloadKey: KeyObject; readonly chunk: number }) {
    if (start instanceof Uint8Array) {
      this.#fileKey = start;
    } else {
      this.#key = start.payloadKey;
      this.#index = start.chunk;
    }
  }

  /**
   * The plaintext that these bytes complete. They may be reused when it returns.
   * @throws age-payload if an earlier piece held a chunk that is not authentic
   */
  push(sealed: Uint8Array): Uint8Array[] {
    this.#throwFailure();
    const parts: Uint8Array[] = [];
    let offset = 0;
    while (offset < sealed.length && !this.#failure) {
      if (this.#lastSeen) {
        this.#failure = new SalvageError(
          'age-payload',
          'Cannot decrypt the payload: other data follows its last chunk',
        );
        break;
      }
      const wanted = this.#key ? sealedChunkBytes : payloadNonceBytes;
      if (this.#pendingBytes === 0 && sealed.length - offset >= wanted) {
        this.#take(sealed.subarray(offset, offset + wanted), parts);
        offset += wanted;
        continue;
      }
      offset += this.#hold(sealed.subarray(offset, offset + wanted - this.#pendingBytes));
      if (this.#pendingBytes < wanted) break;
      this.#pendingBytes = 0;
      this.#take(this.#pending!.subarray(0, wanted), parts);
    }
    return parts;
  }

  /**
   * The last plaintext; after it the payload is known to be whole.
   * @throws age-payload if it was cut short or is damaged; age-header if not even its nonce is there
   */
  finish(): Uint8Array[] {
    this.#throwFailure();
    if (!this.#key)
      throw new SalvageError(
        'age-header',
        'Cannot decrypt the payload: the file ends right after its header',
      );
    if (this.#lastSeen) return [];
    const parts: Uint8Array[] = [];
    if (this.#pendingBytes === 0)
      throw new SalvageError(
        'age-payload',
        `Cannot decrypt the payload: the file was cut short after chunk ${this.#index}`,
        { details: { chunk: this.#index } },
      );
    this.#takeLast(this.#pending!.subarray(0, this.#pendingBytes), parts);
    this.#throwFailure();
    return parts;
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure;
  }

  #hold(bytes: Uint8Array): number {
    this.#pending ??= new Uint8Array(sealedChunkBytes);
    this.#pending.set(bytes, this.#pendingBytes);
    this.#pendingBytes += bytes.length;
    return bytes.length;
  }

  /** The number of chunks released so far. */
  get chunks(): number {
    return this.#index + (this.#lastSeen ? 1 : 0);
  }

  /** True if the next `push` or `finish` will throw. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /** Known once the nonce has been pushed. */
  get payloadKey(): KeyObject | undefined {
    return this.#key;
  }

  /** True once a chunk that is marked as the last has been released: nothing may follow it. */
  get lastSeen(): boolean {
    return this.#lastSeen;
  }

  /** Takes the nonce or a chunk of full size. */
  #take(bytes: Uint8Array, parts: Uint8Array[]): void {
    if (!this.#key) {
      this.#key = derivePayloadKey(this.#fileKey!, bytes);
      return;
    }
    const plaintext = decryptChunk(this.#key, this.#index, false, bytes);
    if (!plaintext) {
      // A last chunk may be full.
      this.#takeLast(bytes, parts);
      return;
    }
    this.#index++;
    parts.push(plaintext);
  }

  #takeLast(sealed: Uint8Array, parts: Uint8Array[]): void {
    const isEmpty = sealed.length === tagBytes;
    const plaintext =
      isEmpty && this.#index > 0 ? undefined : decryptChunk(this.#key!, this.#index, true, sealed);
    if (!plaintext) {
      this.#failure = brokenChunk(this.#index);
      return;
    }
    this.#lastSeen = true;
    if (plaintext.length > 0) parts.push(plaintext);
  }
}
