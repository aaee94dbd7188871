import type { Writable } from 'node:stream';
import { encodeFrameHeader, preface } from './frame.ts';
import { errorCodes, Refusal } from './messages.ts';

/**
 * Sends frames whole, one after the other, whoever calls. A call resolves when the frame has gone to the kernel: its
 * payload is not touched afterwards, and a sender holds one frame at a time.
 */
export class FrameOutput {
  readonly #stream: Writable;
  readonly #stallMs: number;

  /** A frame that does not go within `stallMs` is an error, after which nothing more can be sent. */
  constructor(stream: Writable, stallMs: number) {
    this.#stream = stream;
    this.#stallMs = stallMs;
    // Each write is told of its error; without a listener the same error would end the process.
    stream.on('error', () => {});
  }

  async sendPreface(): Promise<void> {
    await this.#write([preface]);
  }

  async send(type: number, request: number, payload?: Uint8Array): Promise<void> {
    const header = encodeFrameHeader(type, request, payload?.length ?? 0);
    await this.#write(payload && payload.length > 0 ? [header, payload] : [header]);
  }

  async #write(pieces: readonly Uint8Array[]): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      const error = new Refusal(errorCodes.timeOut, 'the other side did not take what it was sent in time');
      this.#stream.destroy(error);
      reject(error);
    }, this.#stallMs);
    try {
      this.#stream.cork();
      for (const [index, piece] of pieces.entries())
        this.#stream.write(piece, (error) => {
          if (error) reject(error);
          else if (index === pieces.length - 1) resolve();
        });
      this.#stream.uncork();
      await promise;
    } finally {
      clearTimeout(timer);
    }
  }
}
