/** Something that has its place in an order and may have to wait for what it needs. */
export interface WindowItem {
  /** False while an answer is due. */
  isReady(): boolean;
  /** Called once, when it is ready and everything before it has been emitted. */
  emit(): void;
  /** How much it counts against the limit. */
  readonly weight: number;
}

/**
 * Emits items in the order in which they were added, however their answers arrive. What waits is bounded by the caller,
 * who stops adding while the window `isFull`.
 */
export class OrderedWindow {
  readonly #limit: number;
  #items: (WindowItem | undefined)[] = [];
  #head = 0;
  #weight = 0;
  #drained: PromiseWithResolvers<void> | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get isEmpty(): boolean {
    return this.#head === this.#items.length;
  }

  get isFull(): boolean {
    return this.#weight >= this.#limit;
  }

  add(item: WindowItem): void {
    if (this.isEmpty && item.isReady()) item.emit();
    else {
      this.#items.push(item);
      this.#weight += item.weight;
    }
  }

  /** To be called when an answer has come: emits what it held up. */
  advance(): void {
    while (this.#head < this.#items.length && this.#items[this.#head]!.isReady()) {
      const item = this.#items[this.#head]!;
      this.#items[this.#head++] = undefined;
      this.#weight -= item.weight;
      item.emit();
    }
    // Now and then only: moving the rest down costs its length.
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    if (!this.isFull) {
      this.#drained?.resolve();
      this.#drained = undefined;
    }
  }

  /** Resolves when the window is no longer full. */
  async room(): Promise<void> {
    if (!this.isFull) return;
    this.#drained ??= Promise.withResolvers<void>();
    await this.#drained.promise;
  }
}
