import { SalvageError } from '../errors/salvage-error.ts';
import type { Storage } from './storage.ts';

/** How much may wait for storage before the writer does. */
const mostWaitingBytes = 8 * 1024 * 1024;

/**
 * An object of any size whose bytes are pushed, where `Storage.createFromStream` pulls them. It comes into being by
 * `commit` and not before; without it nothing remains.
 */
export class ObjectWriter {
  readonly #storage: Storage;
  readonly #name: string;
  readonly #stored: Promise<'created' | 'exists'>;
  #isOver = false;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #end: 'open' | 'whole' | { readonly failure: unknown } = 'open';
  #changed = Promise.withResolvers<void>();

  constructor(storage: Storage, name: string, signal?: AbortSignal) {
    this.#storage = storage;
    this.#name = name;
    this.#stored = storage.createFromStream(name, this.#body(), signal).finally(() => {
      this.#isOver = true;
      this.#change();
    });
    this.#stored.catch(() => {});
  }

  /** Takes a copy. @throws what storing throws, or failed if somebody else has taken the name */
  async write(parts: readonly Uint8Array[]): Promise<void> {
    while (this.#waitingBytes > mostWaitingBytes && !this.#isOver) await this.#changed.promise;
    if (this.#isOver) this.#checkCreated(await this.#stored);
    const bytes = Buffer.concat(parts);
    if (bytes.length === 0) return;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#change();
  }

  /** That was all: the object is stored when this returns. @throws as `write` */
  async commit(): Promise<void> {
    this.#end = 'whole';
    this.#change();
    this.#checkCreated(await this.#stored);
    await this.#storage.settle();
  }

  /** Gives up what has been written; resolves when storage knows. Without effect after `commit`. */
  async discard(): Promise<void> {
    if (this.#end === 'open')
      this.#end = { failure: new SalvageError('interrupted', 'the upload was given up') };
    this.#change();
    await this.#stored.catch(() => {});
  }

  async *#body(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const bytes = this.#waiting.shift();
      if (bytes) {
        yield bytes;
        this.#waitingBytes -= bytes.length;
        this.#change();
      } else if (this.#end === 'whole') return;
      else if (this.#end === 'open') await this.#changed.promise;
      else throw this.#end.failure;
    }
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  #checkCreated(result: 'created' | 'exists'): void {
    if (result === 'exists')
      throw new SalvageError(
        'failed',
        `Cannot store "${this.#name}" in "${this.#storage.description}": it is there already`,
      );
  }
}
