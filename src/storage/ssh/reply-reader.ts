import { FrameDecoder, replyLimits, replyTypes, type Frame } from '../serve/frame.ts';
import { decodeError, Refusal } from '../serve/messages.ts';
import { confused, type Pending } from './serve-ask.ts';
import type { ServeChannel } from './serve-channel.ts';

/** Hands the server's frames to the requests they belong to. */
export class ReplyReader {
  readonly #channel: ServeChannel;
  readonly #pending: Map<number, Pending>;
  onSign: () => void = () => {};
  /** A request has had its last frame. */
  onLast: (isBody: boolean) => void = () => {};

  constructor(channel: ServeChannel, pending: Map<number, Pending>) {
    this.#channel = channel;
    this.#pending = pending;
  }

  /** Until the connection ends; resolves with the reason, of which all requests have been told. */
  async run(): Promise<Error> {
    const reason = (await this.#read()) ?? (await this.#channel.explainEnd());
    for (const [id, pending] of this.#pending) {
      this.#pending.delete(id);
      pending.fail(reason);
      if (id !== 0) this.onLast(pending.isBody);
    }
    void this.#channel.close();
    return reason;
  }

  /** The reason, if it is one of ours. */
  async #read(): Promise<Error | undefined> {
    const decoder = new FrameDecoder(replyLimits);
    try {
      for await (const chunk of this.#channel.input) {
        this.onSign();
        for (const frame of decoder.push(chunk as Uint8Array)) this.#take(frame);
      }
      return undefined;
    } catch (error) {
      return 'code' in (error as Error) && !(error instanceof Refusal) ? undefined : (error as Error);
    }
  }

  #take(frame: Frame): void {
    if (frame.type === replyTypes.pong) return;
    const pending = this.#pending.get(frame.request);
    if (!pending) {
      if (frame.request === 0 && frame.type === replyTypes.error) throw decodeError(frame.payload);
      throw confused('answers what nobody has asked');
    }
    if (!pending.take(frame)) return;
    this.#pending.delete(frame.request);
    if (frame.request !== 0) this.onLast(pending.isBody);
  }
}
