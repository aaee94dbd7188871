import { createHash } from 'node:crypto';
import type { Readable, Writable } from 'node:stream';
import { getSystemErrorMessage } from 'node:util';
import type { Clock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { checkListPrefix, isObjectName } from '../object-name.ts';
import {
  FrameDecoder,
  largestPartBytes,
  NotThisProtocol,
  ProtocolViolation,
  replyTypes,
  requestLimits,
  requestTypes,
  type Frame,
} from './frame.ts';
import { FrameOutput } from './frame-output.ts';
import { IncomingBody } from './incoming-body.ts';
import {
  decodeCreate,
  decodeEnd,
  decodeName,
  decodeRead,
  encodeError,
  encodeObject,
  encodeWelcome,
  errorCodes,
  Refusal,
  type CreateRequest,
  type ReadRequest,
} from './messages.ts';
import { RequestSlots } from '../request-slots.ts';
import { bytesPerName, type Served, type ServeQuota } from './served.ts';

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
const readAheadBytes = 4 * largestPartBytes;
const pageBytes = 48 * 1024;
/** Each holds the names of a folder and of those above it. */
const mostListings = 4;

/**
 * Serves one client until it has gone (docs/design/serve-protocol.md). Nothing that the client sends is believed; what it
 * had begun and not finished is undone when this returns, however it returns.
 * @throws failed if the client did not keep to the protocol or to its time; interrupted
 */
export async function serveStorage(options: ServeOptions): Promise<void> {
  await new ServeConnection(options).run();
}

interface Request {
  readonly stop: AbortController;
  readonly body?: IncomingBody;
  /** Called when a listing may send its next page. */
  more?: () => void;
}

class ServeConnection {
  readonly #options: ServeOptions;
  readonly #timeouts: ServeTimeouts;
  readonly #output: FrameOutput;
  readonly #decoder = new FrameDecoder(requestLimits);
  readonly #requests = new Map<number, Request>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #listings = new RequestSlots(mostListings);
  #served: Served | undefined;
  #hasPreface = false;
  #latest = 0;
  #insideSinceMs: number | undefined;
  #settling: Promise<void> = Promise.resolve();

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
    const served = this.#served;
    if (!served) throw new ProtocolViolation('a request came before the hello');
    const request = this.#requests.get(id);
    switch (type) {
      case requestTypes.data:
        if (payload.length === 0) throw new ProtocolViolation('a part of an object is empty');
        await (request ? bodyOf(request).push(payload) : this.#checkPast(id));
        return;
      case requestTypes.end:
        if (request) endBody(bodyOf(request), decodeEnd(payload));
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
        this.#begin(served, type, id, payload);
    }
  }

  async #welcome(id: number, payload: Buffer): Promise<void> {
    if (this.#served || id !== 0) throw new ProtocolViolation('a second hello');
    await this.#sayPreface();
    const path = payload.toString('utf8');
    if (!path.startsWith('/') || path.includes('\0'))
      throw new ProtocolViolation('the hello names no folder');
    this.#served = await this.#open(path);
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

  #begin(served: Served, type: number, id: number, payload: Buffer): void {
    if (id <= this.#latest) throw new ProtocolViolation('request numbers do not go up');
    // A reply that has gone out may not have been noted here when the next request comes in; one that is not taken counts.
    if (this.#tasks.size >= 2 * mostRequests) throw new ProtocolViolation('too many requests at a time');
    this.#latest = id;
    const stop = new AbortController();
    let request: Request = { stop };
    let work: Promise<void>;
    switch (type) {
      case requestTypes.create: {
        const bodies = [...this.#requests.values()].filter(({ body }) => body).length;
        if (bodies >= mostBodies) throw new ProtocolViolation('too many objects at a time');
        const body = new IncomingBody();
        request = { stop, body };
        work = this.#create(served, id, decodeCreate(payload), body, stop.signal);
        break;
      }
      case requestTypes.read:
        work = this.#read(served, id, decodeRead(payload), stop.signal);
        break;
      case requestTypes.stat:
        work = this.#stat(served, id, decodeName(payload), stop.signal);
        break;
      case requestTypes.list:
        work = this.#list(served, id, decodeName(payload), request);
        break;
      case requestTypes.remove:
        work = this.#remove(served, id, decodeName(payload), stop.signal);
        break;
      default:
        work = this.#settle(served).then(() => this.#reply(replyTypes.done, id));
    }
    this.#requests.set(id, request);
    const task = work
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

  // ---- Requests

  async #create(
    served: Served,
    id: number,
    { name, sizeBytes }: CreateRequest,
    body: IncomingBody,
    signal: AbortSignal,
  ): Promise<void> {
    const { storage, rights, quota, largestObjectBytes = Number.MAX_SAFE_INTEGER } = served;
    await checkName(served, name);
    if (!rights.mayCreate(name)) throw new Refusal(errorCodes.denied, 'this key may not create it');
    if ((sizeBytes ?? 0) > largestObjectBytes) throw tooLarge(largestObjectBytes);
    if (await storage.stat(name, signal)) return await this.#reply(replyTypes.exists, id);
    await served.admit?.(name);
    const room = new ReservedRoom(quota);
    let refusal: unknown;
    async function* received(): AsyncGenerator<Uint8Array> {
      try {
        room.take(bytesPerName);
        const digest = rights.expectedDigest(name);
        const hash = digest === undefined ? undefined : createHash('sha256');
        let total = 0;
        for await (const part of body) {
          total += part.length;
          if (total > largestObjectBytes) throw tooLarge(largestObjectBytes);
          if (sizeBytes !== undefined && total > sizeBytes) throw notAsLong(sizeBytes);
          room.take(part.length);
          hash?.update(part);
          yield part;
        }
        if (sizeBytes !== undefined && total !== sizeBytes) throw notAsLong(sizeBytes);
        if (hash && hash.digest('hex') !== digest)
          throw new Refusal(errorCodes.damaged, 'its SHA-256 is not its name: it was damaged on the way');
      } catch (error) {
        refusal = error;
        throw error;
      }
    }
    try {
      const result = await storage.createFromStream(name, received(), signal);
      await this.#settle(served);
      if (result === 'exists') room.giveBack();
      body.close();
      await this.#reply(result === 'created' ? replyTypes.created : replyTypes.exists, id);
    } catch (error) {
      room.giveBack();
      throw refusal ?? error;
    }
  }

  async #read(
    served: Served,
    id: number,
    { name, offset, length = Number.MAX_SAFE_INTEGER }: ReadRequest,
    signal: AbortSignal,
  ): Promise<void> {
    await checkName(served, name);
    if (!served.rights.mayRead(name)) throw new Refusal(errorCodes.denied, 'this key may not read it');
    for (let at = 0; ;) {
      const wanted = Math.min(length - at, readAheadBytes);
      const bytes = await served.storage.read(name, { offset: offset + at, length: wanted }, signal);
      if (!bytes && at === 0) return await this.#reply(replyTypes.absent, id);
      if (!bytes) throw new Refusal(errorCodes.failed, 'it has just been removed');
      for (let start = 0; start < bytes.length; start += largestPartBytes) {
        signal.throwIfAborted();
        await this.#output.send(replyTypes.part, id, bytes.subarray(start, start + largestPartBytes));
      }
      at += bytes.length;
      if (bytes.length < wanted || at === length) return await this.#reply(replyTypes.done, id);
    }
  }

  async #stat(served: Served, id: number, name: string, signal: AbortSignal): Promise<void> {
    await checkName(served, name);
    const stat = await served.storage.stat(name, signal);
    await (stat
      ? this.#reply(replyTypes.object, id, encodeObject(stat))
      : this.#reply(replyTypes.absent, id));
  }

  async #list(served: Served, id: number, prefix: string, request: Request): Promise<void> {
    const { signal } = request.stop;
    try {
      checkListPrefix(prefix);
    } catch (cause) {
      throw new Refusal(errorCodes.badName, 'no object name begins like this', { cause });
    }
    await served.guard?.(prefix);
    await this.#listings.take(signal);
    try {
      await this.#sendListing(served, id, prefix, request);
    } finally {
      this.#listings.give();
    }
    await this.#reply(replyTypes.done, id);
  }

  async #sendListing(served: Served, id: number, prefix: string, request: Request): Promise<void> {
    const { signal } = request.stop;
    let wanted = Promise.withResolvers<void>();
    request.more = () => wanted.resolve();
    let page: Buffer[] = [];
    let bytes = 0;
    const sendPage = async (): Promise<void> => {
      await this.#output.send(replyTypes.page, id, Buffer.concat(page));
      page = [];
      bytes = 0;
      await wanted.promise;
      wanted = Promise.withResolvers<void>();
      signal.throwIfAborted();
    };
    for await (const object of served.storage.list(prefix, signal)) {
      const encoded = encodeObject(object);
      page.push(encoded);
      bytes += encoded.length;
      if (bytes >= pageBytes) await sendPage();
    }
    if (page.length > 0) await this.#output.send(replyTypes.page, id, Buffer.concat(page));
  }

  async #remove(served: Served, id: number, name: string, signal: AbortSignal): Promise<void> {
    await checkName(served, name);
    if (!served.rights.mayRemove) throw new Refusal(errorCodes.denied, 'this key may not remove anything');
    const result = await served.storage.remove(name, signal);
    await this.#reply(result === 'removed' ? replyTypes.removed : replyTypes.absent, id);
  }

  /** One after the other: a settle that finds nothing left to do must not be back before the one that does it. */
  async #settle({ storage }: Served): Promise<void> {
    const settled = this.#settling.then(async () => await storage.settle());
    this.#settling = settled.catch(() => {});
    await settled;
  }
}

function bodyOf({ body }: Request): IncomingBody {
  if (!body) throw new ProtocolViolation('bytes came for a request that takes none');
  return body;
}

function endBody(body: IncomingBody, totalBytes: number): void {
  if (body.receivedBytes !== totalBytes) body.fail(notAsLong(totalBytes));
  body.end();
}

function stopRequest({ stop, body, more }: Request, reason: Error): void {
  stop.abort(reason);
  body?.fail(reason);
  more?.();
}

/** What one object has taken of the quota, to be given back if it does not come to be. */
class ReservedRoom {
  readonly #quota: ServeQuota | undefined;
  #bytes = 0;

  constructor(quota: ServeQuota | undefined) {
    this.#quota = quota;
  }

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

async function checkName({ guard }: Served, name: string): Promise<void> {
  if (!isObjectName(name)) throw new Refusal(errorCodes.badName, 'it is not a name that salvage gives');
  await guard?.(name);
}

function tooLarge(largestBytes: number): Refusal {
  return new Refusal(errorCodes.tooLarge, `an object may have ${largestBytes} bytes here`);
}

function notAsLong(sizeBytes: number): Refusal {
  return new Refusal(errorCodes.damaged, `its bytes are not the ${sizeBytes} that were announced`);
}

/** Without paths of this machine: they are none of the client's business. */
function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  const { errno } = causeOf(error) as NodeJS.ErrnoException;
  return new Refusal(
    errorCodes.failed,
    errno === undefined ? 'the server could not do it' : getSystemErrorMessage(errno),
  );
}

function causeOf(error: unknown): object {
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    if (cause instanceof Refusal || 'errno' in cause) return cause;
  return {};
}

/** The last frame of a connection, for a client that can still be told. */
function asError(problem: unknown): Buffer | undefined {
  if (problem instanceof Refusal) return encodeError(problem.code, problem.message);
  if (problem instanceof ProtocolViolation) return encodeError(errorCodes.violation, problem.message);
  return undefined;
}

function isHangUp(error: unknown): boolean {
  return (
    error instanceof Error &&
    !(error instanceof Refusal) &&
    'code' in error &&
    !(error instanceof SalvageError)
  );
}

function asFailure(problem: unknown): unknown {
  if (problem instanceof NotThisProtocol)
    return new SalvageError('failed', `Cannot serve this client: it does not speak the protocol of salvage`, {
      hint: 'This command is for the other end of an SSH connection: see the manual page on storage over SSH.',
      cause: problem,
    });
  if (problem instanceof Refusal || problem instanceof ProtocolViolation)
    return new SalvageError('failed', `Cannot serve this client: ${problem.message}`, { cause: problem });
  return problem;
}
