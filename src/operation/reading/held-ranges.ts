import { releaseMemory } from '../../bytes/release-memory.ts';
import type { Fetch } from '../../repository/pack/fetch.ts';
import type { ByteRange } from '../../storage/storage.ts';

/** What a reader that goes on where it stopped is given at once. */
const readAheadBytes = 2 * 1024 * 1024;

/**
 * Spares requests of work that reads ranges of one object: the head of the object is kept, and so is what was fetched
 * last. Who reads one range after the other gets larger pieces; who jumps gets no byte more than asked for.
 */
export class HeldRanges {
  readonly #head: Uint8Array;
  #start = 0;
  #held: Uint8Array = new Uint8Array(0);
  #runs = 0;

  /** `head`: the first bytes of the object, as many as are at hand. */
  constructor(head: Uint8Array) {
    this.#head = head;
  }

  /** The same work, asking for less. What it is given is its own until it asks again. */
  *serve<T>(work: Fetch<T>): Fetch<T> {
    let step = work.next();
    while (!step.done) step = work.next(yield* this.#read(step.value));
    return step.value;
  }

  *#read({ offset, length }: ByteRange): Fetch<Uint8Array> {
    const end = offset + length;
    if (end <= this.#head.length) return this.#head.subarray(offset, end);
    const heldEnd = this.#start + this.#held.length;
    if (offset >= this.#start && end <= heldEnd)
      return this.#held.subarray(offset - this.#start, end - this.#start);
    const goesOn = this.#held.length > 0 && offset >= this.#start && offset <= heldEnd;
    this.#runs = goesOn ? this.#runs + 1 : 0;
    const wanted = this.#runs > 1 ? Math.max(length, readAheadBytes) : length;
    // Who asks again has done with the answer before.
    releaseMemory(this.#held);
    this.#held = yield { offset, length: wanted };
    this.#start = offset;
    return this.#held.subarray(0, length);
  }
}
