import type { SalvageError } from '../errors/salvage-error.ts';
import { asBuffer } from '../bytes/bytes.ts';

/**
 * Reads the data types of RFC 4251 section 5 from bytes of unknown origin. Every length is checked against what is left
 * before it is used; whatever does not fit throws the error that the caller's `fail` makes.
 */
export class WireReader {
  readonly #bytes: Uint8Array;
  readonly #fail: (state: string) => SalvageError;
  #offset = 0;

  constructor(bytes: Uint8Array, fail: (state: string) => SalvageError) {
    this.#bytes = bytes;
    this.#fail = fail;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  /** The next `length` bytes, as a view. */
  bytes(length: number): Uint8Array {
    if (length > this.remaining) throw this.#fail('it is cut short');
    const view = this.#bytes.subarray(this.#offset, this.#offset + length);
    this.#offset += length;
    return view;
  }

  byte(): number {
    return this.bytes(1)[0]!;
  }

  uint32(): number {
    return asBuffer(this.bytes(4)).readUInt32BE();
  }

  /** A length-prefixed string of at most `maxLength` bytes, as a view. */
  string(maxLength: number = this.remaining): Uint8Array {
    const length = this.uint32();
    if (length > maxLength && length <= this.remaining)
      throw this.#fail(`it has a field of ${length} bytes where ${maxLength} are allowed`);
    return this.bytes(length);
  }

  /** A string that holds text. Undecodable bytes become U+FFFD, so that comparisons with expected names fail. */
  text(maxLength?: number): string {
    return asBuffer(this.string(maxLength)).toString('utf8');
  }

  /** A positive mpint: its big-endian bytes without leading zeros, as a view. */
  positiveInteger(maxLength: number = maxIntegerBytes): Uint8Array {
    const bytes = this.string(maxLength + 1);
    if (bytes.length === 0) throw this.#fail('it has a zero where a positive number belongs');
    if (bytes[0]! >= 0x80) throw this.#fail('it has a negative number');
    if (bytes[0] !== 0) return bytes;
    if (bytes.length === 1 || bytes[1]! < 0x80) throw this.#fail('it has a number with needless zeros');
    return bytes.subarray(1);
  }

  /** Throws unless all has been read. */
  end(): void {
    if (this.remaining > 0) throw this.#fail(`${this.remaining} bytes too many follow it`);
  }
}

/** OpenSSH's largest number: 16384 bits. */
const maxIntegerBytes = 2048;
