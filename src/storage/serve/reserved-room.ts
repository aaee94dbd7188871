import { errorCodes, Refusal } from './messages.ts';
import type { ServeQuota } from './served.ts';

/** What one object has taken of the quota, to be given back if it does not come to be. */
export class ReservedRoom {
  readonly #quota: ServeQuota | undefined;
  #bytes = 0;

  constructor(quota: ServeQuota | undefined) {
    this.#quota = quota;
  }

  /** @throws Refusal if there is no room for so many bytes more */
  take(bytes: number): void {
    if (this.#quota?.reserve(bytes) === false)
      throw new Refusal(errorCodes.quota, 'the quota of this place is used up');
    this.#bytes += bytes;
  }

  giveBack(): void {
    this.#quota?.release(this.#bytes);
    this.#bytes = 0;
  }
}
