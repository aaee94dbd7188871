import { errorCodes, Refusal } from './messages.ts';

const mostParts = 4;

/** Parts of an object on their way from the connection to storage: a few at a time, the sender waits. */
export class IncomingBody implements AsyncIterable<Uint8Array> {
  readonly #parts: Uint8Array[] = [];
  #state: 'open' | 'ended' | 'closed' = 'open';
  #failure: Error | undefined;
  /** Of all parts pushed while somebody wanted them. */
  #receivedBytes = 0;
  #waiting: Promise<void> | undefined;
  #wake: () => void = () => {};

  /** Resolves when there is room for the next part, or nobody wants one any more. */
  async push(part: Uint8Array): Promise<void> {
    if (this.#state !== 'open') return;
    this.#receivedBytes += part.length;
    this.#parts.push(part);
    this.#notify();
    while (this.#parts.length >= mostParts && this.#state === 'open' && !this.#failure) await this.#change();
  }

  /** That was all: so many bytes, or who takes them gets an error. */
  end(totalBytes: number): void {
    if (this.#receivedBytes !== totalBytes) this.fail(notAsLong(totalBytes));
    if (this.#state === 'open') this.#state = 'ended';
    this.#notify();
  }

  /** What takes the parts out gets this error. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#notify();
  }

  /** Nobody takes parts out any more: what still comes is dropped. */
  close(): void {
    this.#state = 'closed';
    this.#parts.length = 0;
    this.#notify();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#failure) throw this.#failure;
      const part = this.#parts.shift();
      if (part) {
        this.#notify();
        yield part;
      } else if (this.#state === 'open') await this.#change();
      else return;
    }
  }

  async #change(): Promise<void> {
    if (!this.#waiting) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting = promise;
      this.#wake = resolve;
    }
    await this.#waiting;
  }

  #notify(): void {
    this.#waiting = undefined;
    this.#wake();
  }
}

export function notAsLong(sizeBytes: number): Refusal {
  return new Refusal(errorCodes.damaged, `its bytes are not the ${sizeBytes} that were announced`);
}
