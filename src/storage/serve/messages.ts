// The payloads of frames: docs/design/serve-protocol.md "Requests" and "Replies".
import type { ObjectStat } from '../storage.ts';
import { ProtocolViolation } from './frame.ts';

/** Stands for "not known" or "no limit" where a number of bytes does. */
const unlimited = 0xffff_ffff_ffff_ffffn;
const unknownTime = -0x8000_0000_0000_0000n;
const latestTime = 8_640_000_000_000_000n;

/** Why a request was refused. Numbers are part of the protocol. */
export const errorCodes = {
  failed: 1,
  denied: 2,
  quota: 3,
  tooLarge: 4,
  badName: 5,
  damaged: 6,
  violation: 7,
  timeOut: 8,
  busy: 9,
  cancelled: 10,
} as const;
export type ServeErrorCode = (typeof errorCodes)[keyof typeof errorCodes];

/** A request that is refused with a code; the connection goes on. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: number;

  constructor(code: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export interface Welcome {
  readonly exclusiveCreate: boolean;
  readonly mayRemove: boolean;
  /** Requests that may be under way at a time. */
  readonly requests: number;
  /** Objects that may be under way at a time. */
  readonly bodies: number;
  /** The largest object that is taken; undefined: of any size. */
  readonly largestObjectBytes: number | undefined;
}

export function encodeWelcome(welcome: Welcome): Buffer {
  const bytes = Buffer.alloc(13);
  bytes.writeUInt8((welcome.exclusiveCreate ? 1 : 0) | (welcome.mayRemove ? 2 : 0), 0);
  bytes.writeUInt16LE(welcome.requests, 1);
  bytes.writeUInt16LE(welcome.bodies, 3);
  bytes.writeBigUInt64LE(encodeSize(welcome.largestObjectBytes), 5);
  return bytes;
}

export function decodeWelcome(bytes: Buffer): Welcome {
  if (bytes.length !== 13) throw new ProtocolViolation('the welcome is of another length');
  const flags = bytes.readUInt8(0);
  const requests = bytes.readUInt16LE(1);
  const bodies = bytes.readUInt16LE(3);
  if (requests < 1 || bodies < 1 || flags > 3) throw new ProtocolViolation('the welcome makes no sense');
  return {
    exclusiveCreate: (flags & 1) !== 0,
    mayRemove: (flags & 2) !== 0,
    requests,
    bodies,
    largestObjectBytes: decodeSize(bytes.readBigUInt64LE(5)),
  };
}

export interface CreateRequest {
  readonly name: string;
  /** Undefined while nobody knows. */
  readonly sizeBytes: number | undefined;
}

export function encodeCreate({ name, sizeBytes }: CreateRequest): Buffer {
  const bytes = Buffer.alloc(8 + name.length);
  bytes.writeBigUInt64LE(encodeSize(sizeBytes), 0);
  bytes.write(name, 8, 'latin1');
  return bytes;
}

export function decodeCreate(bytes: Buffer): CreateRequest {
  if (bytes.length < 8) throw new ProtocolViolation('a request to create is cut off');
  return { sizeBytes: decodeSize(bytes.readBigUInt64LE(0)), name: bytes.toString('latin1', 8) };
}

export function encodeEnd(totalBytes: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(totalBytes), 0);
  return bytes;
}

export function decodeEnd(bytes: Buffer): number {
  const total = bytes.length === 8 ? decodeSize(bytes.readBigUInt64LE(0)) : undefined;
  if (total === undefined) throw new ProtocolViolation('the end of an object does not say its size');
  return total;
}

export interface ReadRequest {
  readonly name: string;
  readonly offset: number;
  /** Undefined: to the end. */
  readonly length: number | undefined;
}

export function encodeRead({ name, offset, length }: ReadRequest): Buffer {
  const bytes = Buffer.alloc(16 + name.length);
  bytes.writeBigUInt64LE(BigInt(offset), 0);
  bytes.writeBigUInt64LE(encodeSize(length), 8);
  bytes.write(name, 16, 'latin1');
  return bytes;
}

export function decodeRead(bytes: Buffer): ReadRequest {
  const offset = bytes.length < 16 ? undefined : decodeSize(bytes.readBigUInt64LE(0));
  if (offset === undefined) throw new ProtocolViolation('a request to read says no offset');
  return { offset, length: decodeSize(bytes.readBigUInt64LE(8)), name: bytes.toString('latin1', 16) };
}

export function encodeName(name: string): Buffer {
  return Buffer.from(name, 'latin1');
}

export function decodeName(bytes: Buffer): string {
  return bytes.toString('latin1');
}

/** u16 length of the name, the name, u64 size, i64 milliseconds since 1970. */
export function encodeObject({ name, sizeBytes, receivedAt }: ObjectStat): Buffer {
  const bytes = Buffer.alloc(18 + name.length);
  bytes.writeUInt16LE(name.length, 0);
  bytes.write(name, 2, 'latin1');
  bytes.writeBigUInt64LE(BigInt(sizeBytes), 2 + name.length);
  const time = receivedAt === undefined ? unknownTime : BigInt(Math.floor(receivedAt.getTime()));
  bytes.writeBigInt64LE(time, 10 + name.length);
  return bytes;
}

/** All objects of a page, or the one of a reply to stat. */
export function decodeObjects(bytes: Buffer): ObjectStat[] {
  const objects: ObjectStat[] = [];
  for (let at = 0; at < bytes.length;) {
    const nameBytes = at + 2 <= bytes.length ? bytes.readUInt16LE(at) : 0;
    const end = at + 18 + nameBytes;
    if (nameBytes === 0 || end > bytes.length) throw new ProtocolViolation('a listing is cut off');
    const sizeBytes = decodeSize(bytes.readBigUInt64LE(end - 16));
    const time = bytes.readBigInt64LE(end - 8);
    if (sizeBytes === undefined || (time !== unknownTime && (time > latestTime || time < -latestTime)))
      throw new ProtocolViolation('a listing holds impossible numbers');
    objects.push({
      name: bytes.toString('latin1', at + 2, at + 2 + nameBytes),
      sizeBytes,
      receivedAt: time === unknownTime ? undefined : new Date(Number(time)),
    });
    at = end;
  }
  return objects;
}

export function encodeError(code: number, message: string): Buffer {
  const text = Buffer.from(message, 'utf8').subarray(0, 1024);
  const bytes = Buffer.alloc(2 + text.length);
  bytes.writeUInt16LE(code, 0);
  bytes.set(text, 2);
  return bytes;
}

export function decodeError(bytes: Buffer): Refusal {
  if (bytes.length < 2) throw new ProtocolViolation('an error is cut off');
  return new Refusal(bytes.readUInt16LE(0), bytes.toString('utf8', 2).replace(/\p{Cc}+/gu, ' '));
}

function encodeSize(sizeBytes: number | undefined): bigint {
  return sizeBytes === undefined ? unlimited : BigInt(sizeBytes);
}

/** Undefined for `unlimited`. */
function decodeSize(size: bigint): number | undefined {
  if (size === unlimited) return undefined;
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new ProtocolViolation('a number is too large');
  return Number(size);
}
