import { createHash } from 'node:crypto';
import { checkListPrefix, isObjectName } from '../object-name.ts';
import { RequestSlots } from '../request-slots.ts';
import { largestPartBytes, replyTypes, requestTypes } from './frame.ts';
import { notAsLong, type IncomingBody } from './incoming-body.ts';
import {
  decodeCreate,
  decodeName,
  decodeRead,
  encodeObject,
  errorCodes,
  Refusal,
  type CreateRequest,
  type ReadRequest,
} from './messages.ts';
import { ReservedRoom } from './reserved-room.ts';
import { bytesPerName, type Served } from './served.ts';

/** A request that has not had its last reply. */
export interface ServeRequest {
  readonly id: number;
  readonly stop: AbortController;
  /** Of a create: what the client sends. */
  readonly body?: IncomingBody;
  /** Called when a listing may send its next page. */
  more?: () => void;
}

/** How replies go out. */
export interface Replies {
  /** Any but the last one of a request. */
  part(type: number, id: number, payload: Uint8Array): Promise<void>;
  last(type: number, id: number, payload?: Uint8Array): Promise<void>;
}

const readAheadBytes = 4 * largestPartBytes;
const pageBytes = 48 * 1024;
/** Each holds the names of a folder and of those above it. */
const mostListings = 4;

/** Does what requests ask for, if that is allowed, and replies. */
export class ServeRequests {
  readonly #served: Served;
  readonly #replies: Replies;
  readonly #listings = new RequestSlots(mostListings);
  #settling: Promise<void> = Promise.resolve();

  constructor(served: Served, replies: Replies) {
    this.#served = served;
    this.#replies = replies;
  }

  /**
   * Begins to do what a request asks for; resolves when the reply has gone. @throws ProtocolViolation at once, if the
   * payload is not one of such a request; later Refusal, and what storage throws
   */
  begin(type: number, request: ServeRequest, payload: Buffer): Promise<void> {
    switch (type) {
      case requestTypes.create:
        return this.#create(request, decodeCreate(payload), request.body!);
      case requestTypes.read:
        return this.#read(request, decodeRead(payload));
      case requestTypes.stat:
        return this.#stat(request, decodeName(payload));
      case requestTypes.list:
        return this.#list(request, decodeName(payload));
      case requestTypes.remove:
        return this.#remove(request, decodeName(payload));
      default:
        return this.#settle().then(() => this.#replies.last(replyTypes.done, request.id));
    }
  }

  async #create(
    { id, stop: { signal } }: ServeRequest,
    { name, sizeBytes }: CreateRequest,
    body: IncomingBody,
  ): Promise<void> {
    const { storage, rights, quota, admit, largestObjectBytes = Infinity } = this.#served;
    await this.#checkName(name);
    if (!rights.mayCreate(name)) throw new Refusal(errorCodes.denied, 'this key may not create it');
    const largestBytes = Math.min(rights.largestBytes(name), largestObjectBytes);
    if ((sizeBytes ?? 0) > largestBytes) throw tooLarge(largestBytes);
    if (await storage.stat(name, signal)) return await this.#replies.last(replyTypes.exists, id);
    await admit?.(name);
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
          if (total > largestBytes) throw tooLarge(largestBytes);
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
    // Once it is stored it counts, whatever fails afterwards.
    const result = await storage.createFromStream(name, received(), signal).catch((error: unknown) => {
      room.giveBack();
      throw refusal ?? error;
    });
    if (result === 'exists') room.giveBack();
    await this.#settle();
    body.close();
    await this.#replies.last(result === 'created' ? replyTypes.created : replyTypes.exists, id);
  }

  async #read(
    { id, stop: { signal } }: ServeRequest,
    { name, offset, length = Number.MAX_SAFE_INTEGER }: ReadRequest,
  ): Promise<void> {
    const { storage, rights } = this.#served;
    await this.#checkName(name);
    if (!rights.mayRead(name)) throw new Refusal(errorCodes.denied, 'this key may not read it');
    for (let at = 0; ;) {
      const wanted = Math.min(length - at, readAheadBytes);
      const bytes = await storage.read(name, { offset: offset + at, length: wanted }, signal);
      if (!bytes && at === 0) return await this.#replies.last(replyTypes.absent, id);
      if (!bytes) throw new Refusal(errorCodes.failed, 'it has just been removed');
      for (let start = 0; start < bytes.length; start += largestPartBytes) {
        signal.throwIfAborted();
        await this.#replies.part(replyTypes.part, id, bytes.subarray(start, start + largestPartBytes));
      }
      at += bytes.length;
      if (bytes.length < wanted || at === length) return await this.#replies.last(replyTypes.done, id);
    }
  }

  async #stat({ id, stop: { signal } }: ServeRequest, name: string): Promise<void> {
    await this.#checkName(name);
    const stat = await this.#served.storage.stat(name, signal);
    await (stat
      ? this.#replies.last(replyTypes.object, id, encodeObject(stat))
      : this.#replies.last(replyTypes.absent, id));
  }

  async #list(request: ServeRequest, prefix: string): Promise<void> {
    try {
      checkListPrefix(prefix);
    } catch (cause) {
      throw new Refusal(errorCodes.badName, 'no object name begins like this', { cause });
    }
    await this.#served.guard?.(prefix);
    await this.#listings.run(() => this.#sendListing(request, prefix), request.stop.signal);
    await this.#replies.last(replyTypes.done, request.id);
  }

  async #sendListing(request: ServeRequest, prefix: string): Promise<void> {
    const { id, stop } = request;
    let wanted = Promise.withResolvers<void>();
    request.more = () => wanted.resolve();
    let page: Buffer[] = [];
    let bytes = 0;
    const sendPage = async (): Promise<void> => {
      await this.#replies.part(replyTypes.page, id, Buffer.concat(page));
      page = [];
      bytes = 0;
      await wanted.promise;
      wanted = Promise.withResolvers<void>();
      stop.signal.throwIfAborted();
    };
    for await (const object of this.#served.storage.list(prefix, stop.signal)) {
      const encoded = encodeObject(object);
      page.push(encoded);
      bytes += encoded.length;
      if (bytes >= pageBytes) await sendPage();
    }
    if (page.length > 0) await this.#replies.part(replyTypes.page, id, Buffer.concat(page));
  }

  async #remove({ id, stop: { signal } }: ServeRequest, name: string): Promise<void> {
    const { storage, rights } = this.#served;
    await this.#checkName(name);
    if (!rights.mayRemove) throw new Refusal(errorCodes.denied, 'this key may not remove anything');
    const result = await storage.remove(name, signal);
    await this.#replies.last(result === 'removed' ? replyTypes.removed : replyTypes.absent, id);
  }

  /** One after the other: a settle that finds nothing left to do must not be back before the one that does it. */
  async #settle(): Promise<void> {
    const settled = this.#settling.then(async () => await this.#served.storage.settle());
    this.#settling = settled.catch(() => {});
    await settled;
  }

  async #checkName(name: string): Promise<void> {
    if (!isObjectName(name)) throw new Refusal(errorCodes.badName, 'it is not a name that salvage gives');
    await this.#served.guard?.(name);
  }
}

function tooLarge(largestBytes: number): Refusal {
  return new Refusal(errorCodes.tooLarge, `an object of this name may have ${largestBytes} bytes here`);
}
