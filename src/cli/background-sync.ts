import { fdatasync } from 'node:fs';

const syncEveryBytes = 32 << 20;

/**
 * Has a file that is being written brought to the disk on the way, so that the sync at its end has little left to wait
 * for. Errors are left to that last sync.
 */
export class BackgroundSync {
  readonly #fd: number;
  #bytes = 0;
  #running: Promise<void> | undefined;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** So many bytes more were written. */
  wrote(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < syncEveryBytes || this.#running) return;
    this.#bytes = 0;
    this.#running = new Promise((resolve) => {
      fdatasync(this.#fd, () => {
        this.#running = undefined;
        resolve();
      });
    });
  }

  /** Resolves when the descriptor may be closed. */
  async idle(): Promise<void> {
    await this.#running;
  }
}
