import { receiveMessageOnPort, type MessagePort, type Transferable } from 'node:worker_threads';

/** What connects the two threads. Can be posted, if `port` is in the transfer list. */
export interface InboxEnd {
  readonly port: MessagePort;
  /** Word 0 counts the messages posted, word 1 is set when the run is to be given up. */
  readonly state: SharedArrayBuffer;
}

/** Thrown in a worker when the main thread has given up the run. */
export class RunGivenUp extends Error {
  override readonly name = 'RunGivenUp';
}

/**
 * Messages for a thread that runs a plain loop: `receive` blocks the thread until one is there. No promise and no event
 * loop is involved, so a file can stay open meanwhile.
 */
export class Inbox<Message> {
  readonly #port: MessagePort;
  readonly #state: Int32Array;
  readonly #set: Message[] = [];

  constructor({ port, state }: InboxEnd) {
    this.#port = port;
    this.#state = new Int32Array(state);
  }

  /** The next message; with `wanted` the next one that it accepts, while the others wait. @throws RunGivenUp */
  receive<Wanted extends Message>(wanted: (message: Message) => message is Wanted): Wanted {
    const waiting = this.#set.findIndex(wanted);
    if (waiting >= 0) return this.#set.splice(waiting, 1)[0] as Wanted;
    for (;;) {
      const seen = Atomics.load(this.#state, 0);
      this.throwIfGivenUp();
      const received = receiveMessageOnPort(this.#port) as { message: Message } | undefined;
      if (!received) Atomics.wait(this.#state, 0, seen);
      else if (wanted(received.message)) return received.message;
      else this.#set.push(received.message);
    }
  }

  throwIfGivenUp(): void {
    if (Atomics.load(this.#state, 1) !== 0) throw new RunGivenUp();
  }
}

/** The other end. */
export class Outbox<Message> {
  readonly #port: MessagePort;
  readonly #state: Int32Array;

  constructor({ port, state }: InboxEnd) {
    this.#port = port;
    this.#state = new Int32Array(state);
  }

  send(message: Message, transfer: readonly Transferable[] = []): void {
    this.#port.postMessage(message, transfer);
    this.#wake();
  }

  /** Makes the thread throw RunGivenUp as soon as it looks. */
  giveUp(): void {
    Atomics.store(this.#state, 1, 1);
    this.#wake();
  }

  #wake(): void {
    Atomics.add(this.#state, 0, 1);
    Atomics.notify(this.#state, 0);
  }
}
