import { allocate, systemCalls } from './system-calls.ts';
import type { Address } from './system-calls.ts';

const capacity = 4096;

/** A reused place for one path that ends in NUL, to be handed to a system call by address. */
export class NameBuffer {
  readonly #bytes = allocate(capacity);
  readonly address: Address = systemCalls().addressOf(this.#bytes);

  /** Holds the name, given as a latin1 string (one character per byte), and answers where it is. */
  latin1(name: string): Address {
    if (name.length >= capacity) return this.#tooLong();
    this.#bytes[this.#bytes.write(name, 0, 'latin1')] = 0;
    return this.address;
  }

  bytes(source: Buffer, start: number, end: number): Address {
    if (end - start >= capacity) return this.#tooLong();
    source.copy(this.#bytes, 0, start, end);
    this.#bytes[end - start] = 0;
    return this.address;
  }

  /** A copy of the name, without its NUL. */
  current(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, this.#bytes.indexOf(0)));
  }

  // The kernel's own limit is below our capacity: let it answer ENAMETOOLONG rather than cut a name short.
  #tooLong(): Address {
    this.#bytes.fill(0x61, 0, capacity - 1);
    this.#bytes[capacity - 1] = 0;
    return this.address;
  }
}
