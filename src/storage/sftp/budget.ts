/** Lets so much be under way at a time, first come, first served. */
export class Budget {
  #free: number;
  readonly #total: number;
  readonly #waiting: { amount: number; go: () => void }[] = [];

  constructor(total: number) {
    this.#total = total;
    this.#free = total;
  }

  /** Resolves when that much is free; more than the whole counts as the whole. Each is to be followed by a `give`. */
  async take(amount: number): Promise<void> {
    const wanted = Math.min(amount, this.#total);
    if (this.#waiting.length === 0 && wanted <= this.#free) {
      this.#free -= wanted;
      return;
    }
    await new Promise<void>((resolve) => {
      this.#waiting.push({ amount: wanted, go: resolve });
    });
  }

  give(amount: number): void {
    this.#free += Math.min(amount, this.#total);
    while (this.#waiting.length > 0 && this.#waiting[0]!.amount <= this.#free) {
      const { amount: wanted, go } = this.#waiting.shift()!;
      this.#free -= wanted;
      go();
    }
  }
}
