import { setTimeout as sleep } from 'node:timers/promises';
import { largestPartBytes, replyTypes, requestTypes, type Frame } from '../serve/frame.ts';
import { FrameOutput } from '../serve/frame-output.ts';
import {
  decodeError,
  decodeObjects,
  decodeWelcome,
  encodeCreate,
  encodeEnd,
  encodeName,
  encodeRead,
  type ReadRequest,
  type Welcome,
} from '../serve/messages.ts';
import { isObjectName } from '../object-name.ts';
import type { CreateResult, ObjectStat } from '../storage.ts';
import { TransientError } from '../transient-error.ts';
import { RequestSlots } from '../request-slots.ts';
import { ReplyReader } from './reply-reader.ts';
import { Ask, confused, type AskKind, type Pending } from './serve-ask.ts';
import type { ServeChannel } from './serve-channel.ts';
import { untilOver } from './until-over.ts';

export interface ServeClientTimeouts {
  /** How often a connection that is quiet is tried, in milliseconds. */
  readonly pingMs: number;
  /** After so long without a sign of life it is given up. */
  readonly deadMs: number;
}

const usualTimeouts: ServeClientTimeouts = { pingMs: 30_000, deadMs: 180_000 };

export interface ConnectOptions {
  readonly timeouts?: ServeClientTimeouts | undefined;
  /** Ends the waiting for the server's welcome. */
  readonly signal?: AbortSignal | undefined;
}

/** How long a call that is aborted waits for the server to have undone what it had begun. */
const undoMs = 2000;
/** More than this at a time brings nothing. */
const mostRequests = 64;

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
    { timeouts = usualTimeouts, signal }: ConnectOptions = {},
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
    reader.onSign = () => {
      this.#unanswered = 0;
    };
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
