import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import {
  FrameDecoder,
  ProtocolViolation,
  replyTypes,
  requestLimits,
  requestTypes,
  type Frame,
} from './frame.ts';
import { FrameOutput } from './frame-output.ts';
import { IncomingBody } from './incoming-body.ts';
import { decodeEnd, encodeError, encodeWelcome, errorCodes, Refusal } from './messages.ts';
import { asError, asFailure, asRefusal, isHangUp } from './serve-failure.ts';
import { ServeRequests, type ServeRequest } from './serve-requests.ts';
import type { Served } from './served.ts';

/** How long a client may be silent, in milliseconds. */
export interface ServeTimeouts {
  /** Until it has said which folder it wants. */
  readonly hello: number;
  /** Between the first and the last byte of a frame, and until it takes a reply. */
  readonly frame: number;
  /** Between frames; a client that has nothing to ask pings. */
  readonly idle: number;
}

export const usualTimeouts: ServeTimeouts = { hello: 30_000, frame: 120_000, idle: 300_000 };

export interface ServeOptions {
  readonly input: Readable;
  readonly output: Writable;
  /** Opens what the client asks for by the path of its URL, always with a slash before. @throws Refusal */
  readonly open: (path: string) => Promise<Served>;
  readonly timeouts?: ServeTimeouts;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** With 256 KiB to a part these bound what a connection holds in memory to some 30 MiB. */
const mostRequests = 16;
const mostBodies = 8;

/**
 * Serves one client until it has gone (docs/design/serve-protocol.md). Nothing that the client sends is believed; what it
 * had begun and not finished is undone when this returns, however it returns.
 * @throws failed if the client did not keep to the protocol or to its time; interrupted
 */
export async function serveStorage(options: ServeOptions): Promise<void> {
  await new ServeConnection(options).run();
}

class ServeConnection {
  readonly #options: ServeOptions;
  readonly #timeouts: ServeTimeouts;
  readonly #output: FrameOutput;
  readonly #decoder = new FrameDecoder(requestLimits);
  readonly #requests = new Map<number, ServeRequest>();
  readonly #tasks = new Set<Promise<void>>();
  #served: Served | undefined;
  #serving: ServeRequests | undefined;
  #hasPreface = false;
  #latest = 0;
  #insideSinceMs: number | undefined;

  constructor(options: ServeOptions) {
    this.#options = options;
    this.#timeouts = options.timeouts ?? usualTimeouts;
    this.#output = new FrameOutput(options.output, this.#timeouts.frame);
  }

  async run(): Promise<void> {
    const { input, output, signal } = this.#options;
    const stop = (): void => {
      this.#giveUp();
      input.destroy();
    };
    signal.addEventListener('abort', stop, { once: true });
    input.on('error', () => {});
    // A client that takes no replies any more wants none.
    output.once('error', stop);
    let problem: unknown;
    try {
      signal.throwIfAborted();
      await this.#takeAll();
    } catch (error) {
      problem = signal.aborted ? signal.reason : isHangUp(error) ? undefined : error;
    }
    signal.removeEventListener('abort', stop);
    await this.#end(problem);
    if (problem !== undefined) throw asFailure(problem);
  }

  async #takeAll(): Promise<void> {
    const chunks = this.#options.input[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    for (;;) {
      const { done, value } = await this.#inTime(chunks.next());
      if (done) break;
      for (const frame of this.#decoder.push(value)) {
        this.#insideSinceMs = undefined;
        await this.#take(frame);
      }
    }
    if (this.#decoder.isInside) throw new ProtocolViolation('the connection ended inside a frame');
  }

  /** Only the client's time counts, not what this side needs for storing. */
  async #inTime(chunk: Promise<IteratorResult<Uint8Array>>): Promise<IteratorResult<Uint8Array>> {
    const { clock, input } = this.#options;
    const { hello, frame, idle } = this.#timeouts;
    const nowMs = clock.monotonicMs();
    if (this.#decoder.isInside || !this.#served) this.#insideSinceMs ??= nowMs;
    const limit = this.#served ? frame : hello;
    const leftMs = this.#insideSinceMs === undefined ? idle : this.#insideSinceMs + limit - nowMs;
    let late: Refusal | undefined;
    const timer = setTimeout(
      () => {
        late = new Refusal(errorCodes.timeOut, 'nothing, or too little, came in time');
        input.destroy(late);
      },
      Math.max(0, leftMs),
    );
    try {
      return await chunk;
    } catch (error) {
      throw late ?? error;
    } finally {
      clearTimeout(timer);
    }
  }

  async #end(problem: unknown): Promise<void> {
    const { input, output } = this.#options;
    this.#giveUp();
    input.destroy();
    await this.#sayGoodbye(problem).catch(() => {});
    await Promise.all(this.#tasks);
    await this.#served?.storage.settle().catch(() => {});
    await this.#served?.storage.close().catch(() => {});
    await this.#served?.close();
    output.end();
  }

  /** A client that can still be told is told why. */
  async #sayGoodbye(problem: unknown): Promise<void> {
    const reply = asError(problem);
    if (!reply) return;
    await this.#sayPreface();
    await this.#output.send(replyTypes.error, 0, reply);
  }

  async #sayPreface(): Promise<void> {
    if (this.#hasPreface) return;
    this.#hasPreface = true;
    await this.#output.sendPreface();
  }

  #giveUp(): void {
    const reason = new Refusal(errorCodes.cancelled, 'the connection has ended');
    for (const request of this.#requests.values()) stopRequest(request, reason);
  }

  async #take({ type, request: id, payload }: Frame): Promise<void> {
    if (type === requestTypes.hello) return await this.#welcome(id, payload);
    const serving = this.#serving;
    if (!serving) throw new ProtocolViolation('a request came before the hello');
    const request = this.#requests.get(id);
    switch (type) {
      case requestTypes.data:
        if (payload.length === 0) throw new ProtocolViolation('a part of an object is empty');
        await (request ? bodyOf(request).push(payload) : this.#checkPast(id));
        return;
      case requestTypes.end:
        if (request) bodyOf(request).end(decodeEnd(payload));
        else this.#checkPast(id);
        return;
      case requestTypes.abort: {
        if (!request) return this.#checkPast(id);
        stopRequest(request, new Refusal(errorCodes.cancelled, 'the client has given up'));
        return;
      }
      case requestTypes.more:
        if (request) request.more?.();
        else this.#checkPast(id);
        return;
      case requestTypes.ping:
        await this.#output.send(replyTypes.pong, id);
        return;
      default:
        this.#begin(serving, type, id, payload);
    }
  }

  async #welcome(id: number, payload: Buffer): Promise<void> {
    if (this.#served || id !== 0) throw new ProtocolViolation('a second hello');
    await this.#sayPreface();
    const path = payload.toString('utf8');
    if (!path.startsWith('/') || path.includes('\0'))
      throw new ProtocolViolation('the hello names no folder');
    this.#served = await this.#open(path);
    this.#serving = new ServeRequests(this.#served, {
      part: (...frame) => this.#output.send(...frame),
      last: (...frame) => this.#reply(...frame),
    });
    this.#insideSinceMs = undefined;
    const { storage, rights, largestObjectBytes } = this.#served;
    const welcome = encodeWelcome({
      exclusiveCreate: storage.capabilities.exclusiveCreate,
      mayRemove: rights.mayRemove && storage.capabilities.remove,
      requests: mostRequests,
      bodies: mostBodies,
      largestObjectBytes,
    });
    await this.#output.send(replyTypes.welcome, 0, welcome);
  }

  async #open(path: string): Promise<Served> {
    try {
      return await this.#options.open(path);
    } catch (error) {
      if (error instanceof Refusal || error instanceof SalvageError) throw error;
      throw new SalvageError('failed', `Cannot open the folder to serve: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  /** What still comes for a request that has had its reply is passed over. */
  #checkPast(id: number): void {
    if (id === 0 || id > this.#latest) throw new ProtocolViolation(`there was no request ${id}`);
  }

  #begin(serving: ServeRequests, type: number, id: number, payload: Buffer): void {
    if (id <= this.#latest) throw new ProtocolViolation('request numbers do not go up');
    // A reply that has gone out may not have been noted here when the next request comes in; one that is not taken counts.
    if (this.#tasks.size >= 2 * mostRequests) throw new ProtocolViolation('too many requests at a time');
    this.#latest = id;
    const body = type === requestTypes.create ? new IncomingBody() : undefined;
    const bodies = [...this.#requests.values()].filter((other) => other.body).length;
    if (body && bodies >= mostBodies) throw new ProtocolViolation('too many objects at a time');
    const request: ServeRequest = { id, stop: new AbortController(), ...(body && { body }) };
    this.#requests.set(id, request);
    const task = serving
      .begin(type, request, payload)
      .catch((error: unknown) => this.#refuse(id, error))
      // Whoever takes no replies has ended the connection.
      .catch(() => {})
      .finally(() => {
        request.body?.close();
        this.#tasks.delete(task);
      });
    this.#tasks.add(task);
  }

  /** The one last frame of a request. */
  async #reply(type: number, id: number, payload?: Uint8Array): Promise<void> {
    this.#requests.delete(id);
    await this.#output.send(type, id, payload);
  }

  async #refuse(id: number, error: unknown): Promise<void> {
    const { code, message } = asRefusal(error);
    await this.#reply(replyTypes.error, id, encodeError(code, message));
  }
}

function bodyOf({ body }: ServeRequest): IncomingBody {
  if (!body) throw new ProtocolViolation('bytes came for a request that takes none');
  return body;
}

function stopRequest({ stop, body, more }: ServeRequest, reason: Error): void {
  stop.abort(reason);
  body?.fail(reason);
  more?.();
}
