import type { ContentStore } from './content-store.ts';
import type { BatchResult, FileExtras, FileProblem } from './worker-messages.ts';

/** The answer to one batch while it is made. */
export class BatchOutcome {
  readonly #store: ContentStore;
  readonly #bytesReadBefore: number;
  readonly #bytesNewBefore: number;
  readonly counts: Uint32Array<ArrayBuffer>;
  readonly sizes: Float64Array<ArrayBuffer>;
  readonly states: Uint8Array<ArrayBuffer>;
  readonly extras: FileExtras[] = [];
  readonly problems: FileProblem[] = [];

  constructor(files: number, store: ContentStore) {
    this.#store = store;
    this.#bytesReadBefore = store.bytesRead;
    this.#bytesNewBefore = store.bytesNew;
    this.counts = new Uint32Array(files);
    this.sizes = new Float64Array(files);
    this.states = new Uint8Array(files);
  }

  /** Takes the ranges from the store. */
  result(): BatchResult {
    const store = this.#store;
    const { counts, sizes, states, extras, problems } = this;
    return {
      ranges: store.takeRanges(),
      counts,
      sizes,
      states,
      extras,
      problems,
      bytesRead: store.bytesRead - this.#bytesReadBefore,
      bytesNew: store.bytesNew - this.#bytesNewBefore,
    };
  }
}
