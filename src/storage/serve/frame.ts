// Frames of the serve protocol: docs/design/serve-protocol.md. Numbers are little-endian.

/** What each side sends first: the name of the protocol and its version. */
export const preface: Uint8Array = Buffer.from('salvage-serve 1\n', 'latin1');

/** u32 length of the payload, u8 type, u32 request. */
export const frameHeaderBytes = 9;
/** The longest run of an object's bytes in one frame. */
export const largestPartBytes: number = 256 * 1024;

/** Requests, from the client. */
export const requestTypes = {
  hello: 0x01,
  create: 0x02,
  data: 0x03,
  end: 0x04,
  abort: 0x05,
  read: 0x06,
  stat: 0x07,
  list: 0x08,
  more: 0x09,
  remove: 0x0a,
  settle: 0x0b,
  ping: 0x0c,
} as const;

/** Replies, from the server. */
export const replyTypes = {
  welcome: 0x81,
  created: 0x82,
  exists: 0x83,
  absent: 0x84,
  part: 0x85,
  done: 0x86,
  object: 0x87,
  page: 0x88,
  removed: 0x89,
  error: 0x8a,
  pong: 0x8b,
} as const;

/** For each type that a side accepts, the longest payload in bytes. */
export type PayloadLimits = ReadonlyMap<number, number>;

const longestName = 256;

export const requestLimits: PayloadLimits = new Map<number, number>([
  [requestTypes.hello, 1024],
  [requestTypes.create, 8 + longestName],
  [requestTypes.data, largestPartBytes],
  [requestTypes.end, 8],
  [requestTypes.abort, 0],
  [requestTypes.read, 16 + longestName],
  [requestTypes.stat, longestName],
  [requestTypes.list, longestName],
  [requestTypes.more, 0],
  [requestTypes.remove, longestName],
  [requestTypes.settle, 0],
  [requestTypes.ping, 0],
]);

export const replyLimits: PayloadLimits = new Map<number, number>([
  [replyTypes.welcome, 13],
  [replyTypes.created, 0],
  [replyTypes.exists, 0],
  [replyTypes.absent, 0],
  [replyTypes.part, largestPartBytes],
  [replyTypes.done, 0],
  [replyTypes.object, 18 + longestName],
  [replyTypes.page, 64 * 1024],
  [replyTypes.removed, 0],
  [replyTypes.error, 1026],
  [replyTypes.pong, 0],
]);

export interface Frame {
  readonly type: number;
  /** The number of the request that this belongs to; 0 for the connection itself. */
  readonly request: number;
  readonly payload: Buffer;
}

/** The other side does not keep to the protocol: nothing it sends can be understood any more. */
export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation';
}

/** What came first is no preface of this protocol. */
export class NotThisProtocol extends Error {
  override readonly name = 'NotThisProtocol';
  /** The first bytes, as text of printable ASCII. */
  readonly said: string;

  constructor(bytes: Uint8Array) {
    const said = Buffer.from(bytes.subarray(0, 200))
      .toString('latin1')
      .replace(/[^\x20-\x7e]+/g, ' ')
      .trim();
    super(`the first bytes are ${JSON.stringify(said)}`);
    this.said = said;
  }
}

export function encodeFrameHeader(type: number, request: number, payloadBytes: number): Buffer {
  const header = Buffer.alloc(frameHeaderBytes);
  header.writeUInt32LE(payloadBytes, 0);
  header.writeUInt8(type, 4);
  header.writeUInt32LE(request, 5);
  return header;
}

/**
 * Cuts what one side sends into frames. Holds one unfinished frame, for which it allocates only when its header has been
 * found to be allowed.
 */
export class FrameDecoder {
  readonly #limits: PayloadLimits;
  readonly #start = Buffer.alloc(Math.max(preface.length, frameHeaderBytes));
  #hasPreface = false;
  #startFilled = 0;
  #payload: Buffer | undefined;
  #payloadFilled = 0;

  constructor(limits: PayloadLimits) {
    this.#limits = limits;
  }

  /** True once the preface has been read. */
  get hasPreface(): boolean {
    return this.#hasPreface;
  }

  /** True between the first byte of the preface or of a frame and its last. */
  get isInside(): boolean {
    return this.#startFilled > 0;
  }

  /** The frames that end in this chunk. Their payloads are copies. @throws ProtocolViolation, NotThisProtocol */
  *push(chunk: Uint8Array): Generator<Frame, void, void> {
    for (let at = 0; at < chunk.length || this.#isWhole();) {
      if (!this.#payload) {
        at += this.#fillStart(chunk.subarray(at));
        continue;
      }
      const taken = chunk.subarray(at, at + this.#payload.length - this.#payloadFilled);
      this.#payload.set(taken, this.#payloadFilled);
      this.#payloadFilled += taken.length;
      at += taken.length;
      if (this.#isWhole()) yield this.#finish(this.#payload);
    }
  }

  #isWhole(): boolean {
    return this.#payload !== undefined && this.#payloadFilled === this.#payload.length;
  }

  #finish(payload: Buffer): Frame {
    const frame = { type: this.#start.readUInt8(4), request: this.#start.readUInt32LE(5), payload };
    this.#payload = undefined;
    this.#payloadFilled = 0;
    this.#startFilled = 0;
    return frame;
  }

  /** Takes bytes for the preface or a frame's header, and looks at it when it is whole. */
  #fillStart(bytes: Uint8Array): number {
    const wanted = (this.#hasPreface ? frameHeaderBytes : preface.length) - this.#startFilled;
    const taken = bytes.subarray(0, wanted);
    this.#start.set(taken, this.#startFilled);
    this.#startFilled += taken.length;
    if (!this.#hasPreface) this.#checkPreface(bytes);
    else if (taken.length === wanted) this.#openPayload();
    return taken.length;
  }

  #checkPreface(bytes: Uint8Array): void {
    const begun = this.#start.subarray(0, this.#startFilled);
    if (!begun.equals(preface.subarray(0, begun.length))) {
      const before = begun.subarray(0, Math.max(0, begun.length - bytes.length));
      throw new NotThisProtocol(Buffer.concat([before, bytes.subarray(0, 200)]));
    }
    if (begun.length < preface.length) return;
    this.#hasPreface = true;
    this.#startFilled = 0;
  }

  #openPayload(): void {
    const length = this.#start.readUInt32LE(0);
    const type = this.#start.readUInt8(4);
    const limit = this.#limits.get(type);
    if (limit === undefined) throw new ProtocolViolation(`there is no frame of type ${type} here`);
    if (length > limit)
      throw new ProtocolViolation(
        `a frame of type ${type} has ${length} bytes where ${limit} are the most allowed`,
      );
    this.#payload = Buffer.allocUnsafeSlow(length);
  }
}
