import { setTimeout as sleep } from 'node:timers/promises';
import type { Readable, Writable } from 'node:stream';
import {
  FrameDecoder,
  largestPartBytes,
  ProtocolViolation,
  replyLimits,
  replyTypes,
  requestTypes,
  type Frame,
} from '../serve/frame.ts';
import { FrameOutput } from '../serve/frame-output.ts';
import {
  decodeError,
  decodeObjects,
  decodeWelcome,
  encodeCreate,
  encodeEnd,
  encodeName,
  encodeRead,
  Refusal,
  type ReadRequest,
  type Welcome,
} from '../serve/messages.ts';
import { isObjectName } from '../object-name.ts';
import type { CreateResult, ObjectStat } from '../storage.ts';
import { TransientError } from '../transient-error.ts';
import { RequestSlots } from '../request-slots.ts';

/** Two streams of bytes to a server, whatever carries them. */
export interface ServeChannel {
  /** From the server. */
  readonly input: Readable;
  /** To the server. */
  readonly output: Writable;
  /** Why there are no more bytes from the server, when they have ended: an error for the requests that are under way. */
  explainEnd(): Promise<Error>;
  /** Called when the server has shown that it is one. */
  onConnected(): void;
  close(): Promise<void>;
}

export interface ServeClientTimeouts {
  /** How often a connection that is quiet is tried, in milliseconds. */
  readonly pingMs: number;
  /** After so long without a sign of life it is given up. */
  readonly deadMs: number;
}

const usualClientTimeouts: ServeClientTimeouts = { pingMs: 30_000, deadMs: 180_000 };

export interface ConnectOptions {
  readonly timeouts?: ServeClientTimeouts | undefined;
  /** Ends the waiting for the server's welcome. */
  readonly signal?: AbortSignal | undefined;
}

/** How long a call that is aborted waits for the server to have undone what it had begun. */
const undoMs = 2000;
/** More than this at a time brings nothing. */
const mostRequests = 64;

/** The server answers in a way that no server of salvage does. */
function confused(what: string): ProtocolViolation {
  return new ProtocolViolation(`the server ${what}`);
}

/** What frames are handed to. */
interface Pending {
  readonly isBody: boolean;
  /** Takes a frame. True if it was the last one. @throws ProtocolViolation */
  take(frame: Frame): boolean;
  fail(error: Error): void;
}

interface AskKind {
  readonly isBody?: boolean;
  /** Takes the parts of the answer; without it there are none. @throws ProtocolViolation */
  readonly onPart?: (frame: Frame) => void;
}

/** A request that is under way. */
class Ask implements Pending {
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

/**
 * The client of one connection (docs/design/serve-protocol.md). Requests overlap; what the server refuses is thrown as a
 * Refusal, and when the connection is lost all that is under way fails with what the channel explains.
 */
export class ServeClient {
  readonly welcome: Welcome;
  readonly #channel: ServeChannel;
  readonly #output: FrameOutput;
  readonly #requests: RequestSlots;
  readonly #bodies: RequestSlots;
  readonly #pending: Map<number, Pending>;
  #latest = 0;
  /** Pings since the last sign of life. */
  #unanswered = 0;
  readonly #ended: Promise<Error>;
  #end: Error | undefined;
  #closing: Promise<void> | undefined;

  /** Says hello and waits for the welcome. @throws what the channel explains, NotThisProtocol, Refusal, ProtocolViolation */
  static async connect(
    channel: ServeChannel,
    path: string,
    { timeouts = usualClientTimeouts, signal }: ConnectOptions = {},
  ): Promise<ServeClient> {
    const pending = new Map<number, Pending>();
    const greeting = Promise.withResolvers<Welcome>();
    greeting.promise.catch(() => {});
    pending.set(0, {
      isBody: false,
      take({ type, payload }) {
        if (type === replyTypes.error) greeting.reject(decodeError(payload));
        else if (type === replyTypes.welcome) greeting.resolve(decodeWelcome(payload));
        else throw confused('does not begin with a welcome');
        return true;
      },
      fail: (error) => greeting.reject(error),
    });
    const reader = new ReplyReader(channel, pending);
    const output = new FrameOutput(channel.output, timeouts.deadMs);
    const ended = reader.run();
    try {
      const hello = (async (): Promise<void> => {
        await output.sendPreface();
        await output.send(requestTypes.hello, 0, Buffer.from(path, 'utf8'));
      })();
      // A server that is not there is explained by the end of what it says, not by what cannot be written to it.
      hello.catch(() => channel.output.destroy());
      const timer = setTimeout(
        () => channel.input.destroy(new TransientError('the server does not answer')),
        timeouts.deadMs,
      );
      const stop = (): void => greeting.reject(signal?.reason);
      signal?.addEventListener('abort', stop, { once: true });
      if (signal?.aborted) stop();
      const welcome = await greeting.promise.finally(() => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', stop);
      });
      channel.onConnected();
      return new ServeClient(welcome, channel, output, reader, ended, pending, timeouts);
    } catch (error) {
      await channel.close();
      throw error;
    }
  }

  private constructor(
    welcome: Welcome,
    channel: ServeChannel,
    output: FrameOutput,
    reader: ReplyReader,
    ended: Promise<Error>,
    pending: Map<number, Pending>,
    { pingMs, deadMs }: ServeClientTimeouts,
  ) {
    this.welcome = welcome;
    this.#channel = channel;
    this.#output = output;
    this.#pending = pending;
    this.#requests = new RequestSlots(Math.min(welcome.requests, mostRequests));
    this.#bodies = new RequestSlots(Math.min(welcome.bodies, welcome.requests, mostRequests));
    reader.onSign = () => {};
    reader.onLast = (wasBody) => {
      this.#requests.give();
      if (wasBody) this.#bodies.give();
    };
    this.#ended = ended;
    const timer = setInterval(() => this.#tryConnection(deadMs / pingMs), pingMs);
    timer.unref();
    void this.#noteEnd(timer);
  }

  async #noteEnd(timer: NodeJS.Timeout): Promise<void> {
    this.#end = await this.#ended;
    clearInterval(timer);
  }

  /** True once nothing more can be asked. */
  get hasEnded(): boolean {
    return this.#end !== undefined || this.#closing !== undefined;
  }

  async create(
    name: string,
    sizeBytes: number | undefined,
    body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    await this.#bodies.take(signal);
    const asked = await this.#begin(requestTypes.create, encodeCreate({ name, sizeBytes }), signal, {
      isBody: true,
    });
    const { id } = asked;
    try {
      let total = 0;
      for await (const part of untilOver(body, asked, signal)) {
        for (let at = 0; at < part.length && !asked.last; at += largestPartBytes) {
          signal?.throwIfAborted();
          // Has gone to the kernel when this returns: the caller may use the buffer again.
          await this.#send(requestTypes.data, id, part.subarray(at, at + largestPartBytes));
        }
        total += part.length;
      }
      signal?.throwIfAborted();
      // An early answer is a refusal, or the object exists: the rest need not go over.
      if (asked.last) await this.#send(requestTypes.abort, id);
      else await this.#send(requestTypes.end, id, encodeEnd(total));
    } catch (error) {
      await this.#undo(asked);
      throw error;
    }
    const { type } = await this.#unlessAborted(asked, asked.reply, signal);
    if (type === replyTypes.created) return 'created';
    if (type === replyTypes.exists) return 'exists';
    throw this.#confusing('answers a new object with something else');
  }

  /** The bytes, in parts, or undefined if there is no such object. More than `mostBytes` are an error. */
  async read(request: ReadRequest, mostBytes: number, signal?: AbortSignal): Promise<Buffer[] | undefined> {
    const parts: Buffer[] = [];
    let total = 0;
    const asked = await this.#begin(requestTypes.read, encodeRead(request), signal, {
      onPart: (frame) => {
        total += frame.payload.length;
        if (frame.type !== replyTypes.part || total > mostBytes)
          throw confused('sends more than it was asked for');
        parts.push(frame.payload);
      },
    });
    const { type } = await this.#unlessAborted(asked, asked.reply, signal);
    if (type === replyTypes.absent && total === 0) return undefined;
    if (type !== replyTypes.done) throw this.#confusing('answers a reading with something else');
    return parts;
  }

  async stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    const asked = await this.#begin(requestTypes.stat, encodeName(name), signal);
    const { type, payload } = await this.#unlessAborted(asked, asked.reply, signal);
    if (type === replyTypes.absent) return undefined;
    const [object, ...more] =
      type === replyTypes.object ? this.#understood(() => decodeObjects(payload)) : [];
    if (object?.name !== name || more.length > 0) throw this.#confusing('tells of another object');
    return object;
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
    const pages: Buffer[] = [];
    let arrived = Promise.withResolvers<void>();
    const asked = await this.#begin(requestTypes.list, encodeName(prefix), signal, {
      onPart: (frame) => {
        // One page is asked for ahead.
        if (frame.type !== replyTypes.page || pages.length > 1)
          throw confused('sends pages nobody asked for');
        pages.push(frame.payload);
        arrived.resolve();
      },
    });
    let previous = '';
    try {
      while (pages.length > 0 || !asked.last) {
        if (pages.length === 0) await this.#unlessAborted(asked, arrived.promise, signal);
        arrived = Promise.withResolvers<void>();
        const page = pages.shift();
        if (!page) break;
        if (!asked.last) await this.#send(requestTypes.more, asked.id);
        for (const object of this.#understood(() => decodeObjects(page))) {
          const { name } = object;
          if (!isObjectName(name) || !name.startsWith(prefix) || name <= previous)
            throw this.#confusing('lists what it was not asked for');
          previous = name;
          signal?.throwIfAborted();
          yield object;
        }
      }
      const { type } = await asked.reply;
      if (type !== replyTypes.done) throw this.#confusing('ends a listing with something else');
    } finally {
      if (!asked.last && !this.#end) void this.#send(requestTypes.abort, asked.id).catch(() => {});
    }
  }

  async remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    const asked = await this.#begin(requestTypes.remove, encodeName(name), signal);
    const { type } = await this.#unlessAborted(asked, asked.reply, signal);
    if (type === replyTypes.removed) return 'removed';
    if (type === replyTypes.absent) return 'absent';
    throw this.#confusing('answers a removal with something else');
  }

  async settle(signal?: AbortSignal): Promise<void> {
    const asked = await this.#begin(requestTypes.settle, undefined, signal);
    const { type } = await this.#unlessAborted(asked, asked.reply, signal);
    if (type !== replyTypes.done) throw this.#confusing('answers with something else');
  }

  async close(): Promise<void> {
    this.#closing ??= this.#channel.close();
    await this.#closing;
  }

  // ---- One request

  async #begin(
    type: number,
    payload: Uint8Array | undefined,
    signal: AbortSignal | undefined,
    kind: AskKind = {},
  ): Promise<Ask> {
    try {
      await this.#requests.take(signal);
    } catch (error) {
      if (kind.isBody) this.#bodies.give();
      throw error;
    }
    if (this.#end) {
      this.#requests.give();
      if (kind.isBody) this.#bodies.give();
      throw this.#end;
    }
    const asked = new Ask(++this.#latest, kind);
    this.#pending.set(asked.id, asked);
    await this.#send(type, asked.id, payload);
    return asked;
  }

  /** @throws why the connection has ended, if the frame does not go */
  async #send(type: number, id: number, payload?: Uint8Array): Promise<void> {
    try {
      await this.#output.send(type, id, payload);
      // What an object's bytes push on has room for them; a ping fits into any buffer.
      if (type === requestTypes.data) this.#unanswered = 0;
    } catch {
      // What cannot be written to has gone, and its output tells why.
      this.#channel.output.destroy();
      throw await this.#ended;
    }
  }

  /** The server is to forget the request; what it says of it is waited for a little, so that it has done so. */
  async #undo(asked: Ask): Promise<void> {
    if (this.#end || asked.last) return;
    await this.#send(requestTypes.abort, asked.id).catch(() => {});
    const given = asked.reply.catch(() => {});
    await Promise.race([given, sleep(undoMs, undefined, { ref: false })]);
  }

  async #unlessAborted<T>(asked: Ask, wanted: Promise<T>, signal?: AbortSignal): Promise<T | Frame> {
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const stop = (): void => reject(signal!.reason as Error);
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      return await Promise.race([wanted, asked.reply, aborted]);
    } catch (error) {
      if (signal?.aborted) await this.#undo(asked);
      throw error;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  /** Counts pings and not time: a process that was busy or asleep has not heard what came meanwhile. */
  #tryConnection(mostPings: number): void {
    if (this.#unanswered++ >= mostPings)
      this.#channel.input.destroy(new TransientError('there is no sign of life from the server'));
    else void this.#send(requestTypes.ping, 0).catch(() => {});
  }

  #understood<T>(decode: () => T): T {
    try {
      return decode();
    } catch (error) {
      this.#channel.input.destroy(error as Error);
      throw error;
    }
  }

  /** Nothing that such a server says is believed any more. */
  #confusing(what: string): Error {
    const error = confused(what);
    this.#channel.input.destroy(error);
    return error;
  }
}

/** The parts, as long as somebody wants them: the next one may never come. Throws the signal's reason. */
async function* untilOver(
  body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  asked: Ask,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const parts = Symbol.asyncIterator in body ? body[Symbol.asyncIterator]() : body[Symbol.iterator]();
  let isAtEnd = false;
  try {
    while (!asked.last) {
      const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<Uint8Array> | undefined>();
      const stop = (): void => reject(signal!.reason as Error);
      asked.onLast = () => resolve(undefined);
      signal?.addEventListener('abort', stop, { once: true });
      Promise.resolve(parts.next()).then(resolve, reject);
      const next = await promise.finally(() => signal?.removeEventListener('abort', stop));
      isAtEnd = next?.done === true;
      if (!next || next.done) return;
      yield next.value;
    }
  } finally {
    // Not waited for: it may hang for the same reason.
    if (!isAtEnd) void Promise.resolve(parts.return?.()).catch(() => {});
  }
}

/** Hands the server's frames to the requests they belong to. */
class ReplyReader {
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
