// The packets of SFTP version 3 (draft-ietf-secsh-filexfer-02): a length of 32 bits, a type, a request number, fields.
// Numbers are big-endian, strings are bytes behind a length of 32 bits.
import { asBuffer } from '../../bytes/bytes.ts';

export const PacketType = {
  init: 1,
  version: 2,
  open: 3,
  close: 4,
  read: 5,
  write: 6,
  lstat: 7,
  opendir: 11,
  readdir: 12,
  remove: 13,
  mkdir: 14,
  rename: 18,
  extended: 200,
  status: 101,
  handle: 102,
  data: 103,
  name: 104,
  attributes: 105,
  extendedReply: 201,
} as const;

export const StatusCode = {
  ok: 0,
  eof: 1,
  noSuchFile: 2,
  permissionDenied: 3,
  failure: 4,
  noConnection: 6,
  connectionLost: 7,
  unsupported: 8,
} as const;

export const OpenFlag = { read: 0x01, write: 0x02, create: 0x08, truncate: 0x10, exclusive: 0x20 } as const;

/** As large as OpenSSH's own limit: what is larger is not read. */
const largestPacketBytes = 256 * 1024;

/** The server breaks the protocol: nothing more can be understood of it. */
export class SftpProtocolError extends Error {
  override readonly name = 'SftpProtocolError';
}

/** What a server tells of a file; members it leaves out are undefined. */
export interface FileAttributes {
  readonly sizeBytes: number | undefined;
  /** The whole st_mode. */
  readonly mode: number | undefined;
  /** Seconds since 1970. */
  readonly mtime: number | undefined;
}

/** A field of a request: a 32-bit number, a 64-bit number, or a string. */
export type Field = number | bigint | string | Uint8Array;

/** A packet of request number `id`; `tail` bytes of its last string are still to be sent behind it. */
export function encodePacket(type: number, id: number, fields: readonly Field[], tailBytes = 0): Buffer {
  const parts: Buffer[] = [];
  for (const field of fields) {
    if (typeof field === 'number') parts.push(uint32(field));
    else if (typeof field === 'bigint') {
      const part = Buffer.allocUnsafe(8);
      part.writeBigUInt64BE(field);
      parts.push(part);
    } else {
      const bytes = typeof field === 'string' ? Buffer.from(field, 'utf8') : asBuffer(field);
      parts.push(uint32(bytes.length), bytes);
    }
  }
  if (tailBytes > 0) parts.push(uint32(tailBytes));
  const head = Buffer.allocUnsafe(9);
  const length = 5 + tailBytes + parts.reduce((sum, part) => sum + part.length, 0);
  head.writeUInt32BE(length, 0);
  head.writeUInt8(type, 4);
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, ...parts]);
}

function uint32(value: number): Buffer {
  const part = Buffer.allocUnsafe(4);
  part.writeUInt32BE(value);
  return part;
}

/** Reads the fields of a received packet; each method throws SftpProtocolError where the packet has no such field. */
export class PacketReader {
  readonly #bytes: Buffer;
  #at = 0;

  /** `bytes`: the packet without its length. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  byte(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  uint32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  /** A number of 64 bits that a program can count with. */
  uint64(): number {
    const value = this.#bytes.readBigUInt64BE(this.#take(8));
    // Larger than any file: as good as the largest.
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
  }

  /** A view, valid as long as the packet. */
  bytes(): Buffer {
    const length = this.uint32();
    const start = this.#take(length);
    return this.#bytes.subarray(start, start + length);
  }

  /** One character per byte. */
  latin1(): string {
    return this.bytes().toString('latin1');
  }

  attributes(): FileAttributes {
    const flags = this.uint32();
    const sizeBytes = flags & 0x1 ? this.uint64() : undefined;
    if (flags & 0x2) this.#take(8);
    const mode = flags & 0x4 ? this.uint32() : undefined;
    let mtime: number | undefined;
    if (flags & 0x8) {
      this.#take(4);
      mtime = this.uint32();
    }
    if (flags & 0x8000_0000)
      for (let left = this.uint32(); left > 0; left--) {
        this.bytes();
        this.bytes();
      }
    return { sizeBytes, mode, mtime };
  }

  #take(length: number): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) throw new SftpProtocolError('a packet is shorter than it says');
    this.#at += length;
    return start;
  }
}

/** Cuts a stream of bytes into packets. Holds no more than one of them. */
export class PacketSplitter {
  readonly #head: Buffer = Buffer.allocUnsafe(4);
  #headFilled = 0;
  #packet: Buffer | undefined;
  #filled = 0;

  /** The packets, without their lengths, that `chunk` completes. @throws SftpProtocolError for one of an impossible length */
  *push(chunk: Buffer): Generator<Buffer> {
    for (let at = 0; at < chunk.length;) {
      if (!this.#packet) {
        const copied = chunk.copy(this.#head, this.#headFilled, at);
        at += copied;
        this.#headFilled += copied;
        if (this.#headFilled < 4) return;
        this.#headFilled = 0;
        const length = this.#head.readUInt32BE(0);
        if (length < 5 || length > largestPacketBytes)
          throw new SftpProtocolError(
            `it does not speak SFTP: a packet of ${length} bytes, or the text "${printable(this.#head)}"`,
          );
        this.#packet = Buffer.allocUnsafe(length);
        this.#filled = 0;
      } else {
        const copied = chunk.copy(this.#packet, this.#filled, at);
        at += copied;
        this.#filled += copied;
        if (this.#filled < this.#packet.length) return;
        const packet = this.#packet;
        this.#packet = undefined;
        yield packet;
      }
    }
  }
}

function printable(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[^\x20-\x7e]/g, '?');
}
