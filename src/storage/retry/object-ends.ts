import { concatBytes, equalBytes } from '../../bytes/bytes.ts';
import type { Storage } from '../storage.ts';

/** Enough to tell two writers' objects apart: age files begin with random bytes, the small documents are compared whole. */
const endBytes = 64 * 1024;

/** The size, the first and the last bytes of what was to be stored, to recognise it in storage after a lost reply. */
export class ObjectEnds {
  #sizeBytes = 0;
  #first: Uint8Array = new Uint8Array(0);
  #last: Uint8Array = new Uint8Array(0);

  static of(parts: readonly Uint8Array[]): ObjectEnds {
    const ends = new ObjectEnds();
    for (const part of parts) ends.add(part);
    return ends;
  }

  /** Takes note of the next bytes; they are not kept. */
  add(part: Uint8Array): void {
    this.#sizeBytes += part.length;
    const missing = endBytes - this.#first.length;
    if (missing > 0) this.#first = concatBytes([this.#first, part.subarray(0, missing)]);
    this.#last =
      part.length >= endBytes
        ? part.slice(part.length - endBytes)
        : concatBytes([this.#last, part]).slice(-endBytes);
  }

  /** True if the object is there and is the one noted; false where it is absent, another or may not be read. */
  async areIn(storage: Storage, name: string, signal?: AbortSignal): Promise<boolean> {
    const offset = this.#sizeBytes - this.#last.length;
    const first = await storage.read(name, { offset: 0, length: this.#first.length }, signal);
    const last = await storage.read(name, { offset, length: this.#last.length }, signal);
    const stat = await storage.stat(name, signal);
    if (!first || !last) return false;
    return (
      stat?.sizeBytes === this.#sizeBytes && equalBytes(first, this.#first) && equalBytes(last, this.#last)
    );
  }
}
