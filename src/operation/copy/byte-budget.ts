/**
 * So many bytes may be in memory at a time. Who wants more than all there is gets it when nobody else holds anything.
 * First come, first served.
 */
export class ByteBudget {
  readonly #mostBytes: number;
  readonly #waiting: { readonly bytes: number; readonly resolve: () => void }[] = [];
  #bytes = 0;
  #holders = 0;

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  /** Waits until there is room, and holds it until the result is disposed of. Never fails: who holds must let go. */
  async hold(bytes: number): Promise<Disposable> {
    const turn = Promise.withResolvers<void>();
    this.#waiting.push({ bytes, resolve: turn.resolve });
    this.#serve();
    await turn.promise;
    return {
      [Symbol.dispose]: () => {
        this.#bytes -= bytes;
        this.#holders--;
        this.#serve();
      },
    };
  }

  #serve(): void {
    for (let first = this.#waiting[0]; first && this.#fits(first.bytes); first = this.#waiting[0]) {
      this.#waiting.shift();
      this.#bytes += first.bytes;
      this.#holders++;
      first.resolve();
    }
  }

  #fits(bytes: number): boolean {
    return this.#holders === 0 || this.#bytes + bytes <= this.#mostBytes;
  }
}
