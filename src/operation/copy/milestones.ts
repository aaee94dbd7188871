/** Things numbered from 0 that are done in any order, and who waits until all up to one of them are. */
export class Milestones {
  readonly #done: boolean[] = [];
  #first = 0;
  #moved = Promise.withResolvers<void>();

  done(index: number): void {
    this.#done[index] = true;
    const before = this.#first;
    while (this.#done[this.#first]) this.#first++;
    if (this.#first === before) return;
    this.#moved.resolve();
    this.#moved = Promise.withResolvers<void>();
  }

  /** True if the first `count` are done. */
  reached(count: number): boolean {
    return this.#first >= count;
  }

  /** Waits for the first `count`. @throws the signal's reason */
  async reach(count: number, signal: AbortSignal): Promise<void> {
    const stopped = Promise.withResolvers<never>();
    stopped.promise.catch(() => {});
    const stop = (): void => stopped.reject(signal.reason as Error);
    signal.addEventListener('abort', stop, { once: true });
    try {
      signal.throwIfAborted();
      while (!this.reached(count)) await Promise.race([this.#moved.promise, stopped.promise]);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }
}
