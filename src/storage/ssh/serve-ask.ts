import { ProtocolViolation, replyTypes, type Frame } from '../serve/frame.ts';
import { decodeError } from '../serve/messages.ts';

/** The server answers in a way that no server of salvage does. */
export function confused(what: string): ProtocolViolation {
  return new ProtocolViolation(`the server ${what}`);
}

/** What frames are handed to. */
export interface Pending {
  readonly isBody: boolean;
  /** Takes a frame. True if it was the last one. @throws ProtocolViolation */
  take(frame: Frame): boolean;
  fail(error: Error): void;
}

export interface AskKind {
  readonly isBody?: boolean;
  /** Takes the parts of the answer; without it there are none. @throws ProtocolViolation */
  readonly onPart?: (frame: Frame) => void;
}

/** A request that is under way. */
export class Ask implements Pending {
  readonly id: number;
  readonly isBody: boolean;
  /** Its last frame. @throws Refusal, or why the connection has ended */
  readonly reply: Promise<Frame>;
  /** True when `reply` is there. */
  last = false;
  /** Called then. */
  onLast: () => void = () => {};
  readonly #onPart: AskKind['onPart'];
  readonly #resolve: (frame: Frame) => void;
  readonly #reject: (error: Error) => void;

  constructor(id: number, { isBody = false, onPart }: AskKind) {
    this.id = id;
    this.isBody = isBody;
    this.#onPart = onPart;
    const { promise, resolve, reject } = Promise.withResolvers<Frame>();
    this.reply = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    // Whoever waits for it hears of it; nobody may be waiting yet.
    promise.catch(() => {});
  }

  take(frame: Frame): boolean {
    const { type } = frame;
    if (type === replyTypes.part || type === replyTypes.page) {
      if (!this.#onPart) throw confused('sends bytes nobody asked for');
      this.#onPart(frame);
      return false;
    }
    this.last = true;
    if (type === replyTypes.error) this.#reject(decodeError(frame.payload));
    else this.#resolve(frame);
    this.onLast();
    return true;
  }

  fail(error: Error): void {
    this.last = true;
    this.#reject(error);
    this.onLast();
  }
}
