import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../../clock/clock.ts';
import { Budget } from './budget.ts';
import {
  encodePacket,
  PacketReader,
  PacketSplitter,
  PacketType,
  SftpProtocolError,
  StatusCode,
  type Field,
  type FileAttributes,
} from './sftp-packet.ts';
import { SshFailure, shownText } from '../ssh-program/ssh-failure.ts';

/** The service at the other end: a running ssh program. */
export interface SftpChannel {
  readonly input: Readable;
  readonly output: Writable;
  /** Resolves when the program has ended, with the reason. */
  readonly ended: Promise<SshFailure>;
  /** To be called when the service has answered for the first time. */
  markConnected(): void;
  close(): Promise<void>;
  kill(): void;
}

/** The server refuses a request. */
export class SftpStatusError extends Error {
  override readonly name = 'SftpStatusError';
  /** One of StatusCode. */
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** An open file or folder of the server. */
export type Handle = Buffer & { readonly __brand: 'handle' };

export interface FolderEntry {
  /** One character per byte. */
  readonly name: string;
  readonly attributes: FileAttributes;
}

export interface ServerLimits {
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly openHandles: number;
}

export interface SessionSettings {
  readonly clock: Clock;
  /** A server that owes an answer and is silent for so long counts as dead. */
  readonly silenceMs: number;
  /** True if ssh may ask somebody for a passphrase before the server can greet. */
  readonly isInteractive: boolean;
}

const protocolVersion = 3;
/** Payload under way in both directions: at 50 ms, 160 MB/s; ssh itself has a window of 2 MiB. */
const payloadUnderWay = 8 * 1024 * 1024;
const requestsUnderWay = 512;
/** What every server takes in one request, and the most that we ask for. */
const smallestPayload = 32 * 1024;
const largestPayload = 128 * 1024;
const longestHandle = 256;
/** Longer names than any object's are passed over, and more of them would be an attack on our memory. */
const longestName = 256;
const mostFolderEntries = 1_000_000;

interface PendingRequest {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

interface Reply {
  readonly type: number;
  readonly fields: PacketReader;
}

/** The last field of a request, which is sent without copying it. */
interface Tail {
  readonly bytes: Uint8Array;
  readonly onSent: (() => void) | undefined;
}

/**
 * One connection to an SFTP server. Requests are sent at once and answered in any order; the server works them off in
 * the order in which they were sent. When the connection ends, all that wait are rejected with the reason (SshFailure,
 * SftpProtocolError), and so is whatever is asked later.
 */
export class SftpSession {
  readonly #channel: SftpChannel;
  readonly #clock: Clock;
  readonly #silenceMs: number;
  readonly #pending = new Map<number, PendingRequest>();
  readonly #payload = new Budget(payloadUnderWay);
  readonly #requests = new Budget(requestsUnderWay);
  readonly #extensions = new Set<string>();
  readonly #greeting = Promise.withResolvers<void>();
  #limits: ServerLimits = { readBytes: smallestPayload, writeBytes: smallestPayload, openHandles: 100 };
  #nextId = 0;
  #failure: Error | undefined;
  #heardAtMs: number;
  #isGreeted: boolean;
  #watch: NodeJS.Timeout | undefined;

  private constructor(channel: SftpChannel, { clock, silenceMs, isInteractive }: SessionSettings) {
    this.#channel = channel;
    this.#clock = clock;
    this.#silenceMs = silenceMs;
    // Somebody may be looking for a passphrase.
    this.#isGreeted = isInteractive;
    this.#heardAtMs = clock.monotonicMs();
  }

  /** Greets the server. @throws SshFailure, SftpProtocolError */
  static async start(channel: SftpChannel, settings: SessionSettings): Promise<SftpSession> {
    const session = new SftpSession(channel, settings);
    await session.#start();
    return session;
  }

  get limits(): ServerLimits {
    return this.#limits;
  }

  get isAlive(): boolean {
    return this.#failure === undefined;
  }

  /** True if the server has announced this extension. */
  offers(extension: string): boolean {
    return this.#extensions.has(extension);
  }

  async open(path: string, flags: number, mode?: number): Promise<Handle> {
    const attributes = mode === undefined ? [0] : [0x4, mode];
    return handleOf(await this.#ask(PacketType.open, [path, flags, ...attributes]));
  }

  async closeHandle(handle: Handle): Promise<void> {
    await this.#askForStatus(PacketType.close, [handle]);
  }

  /** Up to `length` bytes; undefined at the end of the file. */
  async read(handle: Handle, offset: number, length: number): Promise<Buffer | undefined> {
    await this.#payload.take(length);
    try {
      const { type, fields } = await this.#ask(PacketType.read, [handle, BigInt(offset), length]);
      if (type === PacketType.data) {
        const bytes = fields.bytes();
        if (bytes.length > length || bytes.length === 0)
          throw this.#break(new SftpProtocolError('it answers with other bytes than were asked for'));
        return bytes;
      }
      const status = statusOf({ type, fields });
      if (status?.code === StatusCode.eof) return undefined;
      throw status ?? this.#break(new SftpProtocolError('it answers to reading without bytes'));
    } finally {
      this.#payload.give(length);
    }
  }

  /**
   * The bytes must not change until the call is over. `onSent` is called when they are on their way: what is asked from
   * then on, the server does after it has written them.
   */
  async write(handle: Handle, offset: number, bytes: Uint8Array, onSent?: () => void): Promise<void> {
    await this.#payload.take(bytes.length);
    try {
      await this.#askForStatus(PacketType.write, [handle, BigInt(offset)], { bytes, onSent });
    } finally {
      this.#payload.give(bytes.length);
    }
  }

  /** Of the file itself, not of what a symlink leads to; undefined if there is none. */
  async lstat(path: string): Promise<FileAttributes | undefined> {
    const reply = await this.#ask(PacketType.lstat, [path]);
    if (reply.type === PacketType.attributes) return reply.fields.attributes();
    const status = statusOf(reply);
    if (status?.code === StatusCode.noSuchFile) return undefined;
    throw status ?? this.#break(new SftpProtocolError('it answers to lstat without attributes'));
  }

  /** All entries of a folder but '.', '..' and names that no object has for their length, in no order; undefined if there is no such folder. */
  async readFolder(path: string): Promise<FolderEntry[] | undefined> {
    let handle: Handle;
    try {
      handle = handleOf(await this.#ask(PacketType.opendir, [path]));
    } catch (error) {
      if (error instanceof SftpStatusError && error.code === StatusCode.noSuchFile) return undefined;
      throw error;
    }
    const found: FolderEntry[] = [];
    try {
      // Most folders fit into one answer: the second request fetches the end of the list in the same round trip.
      for (let isAtEnd = false; !isAtEnd;) {
        const replies = await Promise.all([
          this.#ask(PacketType.readdir, [handle]),
          this.#ask(PacketType.readdir, [handle]),
        ]);
        for (const reply of replies) isAtEnd = this.#takeEntries(reply, found) || isAtEnd;
      }
    } finally {
      this.closeHandle(handle).catch(() => {});
    }
    return found;
  }

  async makeFolder(path: string, mode: number): Promise<void> {
    await this.#askForStatus(PacketType.mkdir, [path, 0x4, mode]);
  }

  async remove(path: string): Promise<void> {
    await this.#askForStatus(PacketType.remove, [path]);
  }

  /** Version 3 has it fail if the new name is taken; not every server does. */
  async rename(from: string, to: string): Promise<void> {
    await this.#askForStatus(PacketType.rename, [from, to]);
  }

  /** A request of an extension that is answered by a status. */
  async extended(extension: string, ...fields: readonly Field[]): Promise<void> {
    await this.#askForStatus(PacketType.extended, [extension, ...fields]);
  }

  /** What is free on the file system of this path; undefined where the server does not tell. */
  async freeBytes(path: string): Promise<number | undefined> {
    if (!this.offers('statvfs@openssh.com')) return undefined;
    const { type, fields } = await this.#ask(PacketType.extended, ['statvfs@openssh.com', path]);
    if (type !== PacketType.extendedReply) return undefined;
    fields.uint64();
    const blockBytes = fields.uint64();
    fields.uint64();
    fields.uint64();
    return fields.uint64() * blockBytes;
  }

  /** Ends the connection; what waits is rejected. */
  async close(): Promise<void> {
    this.#end(new SshFailure('the connection was closed', false));
    await this.#channel.close();
  }

  async #start(): Promise<void> {
    const splitter = new PacketSplitter();
    this.#channel.input.on('data', (chunk: Buffer) => {
      this.#heardAtMs = this.#clock.monotonicMs();
      try {
        for (const packet of splitter.push(chunk)) {
          if (this.#failure) return;
          this.#receive(packet);
        }
      } catch (error) {
        this.#break(error as Error);
      }
    });
    this.#channel.output.on('drain', () => {
      this.#heardAtMs = this.#clock.monotonicMs();
    });
    void this.#channel.ended.then((failure) => this.#end(failure));
    this.#watchSilence();
    // The greeting has the version where others have the request number.
    this.#channel.output.write(encodePacket(PacketType.init, protocolVersion, []));
    await this.#greeting.promise;
    this.#channel.markConnected();
    if (this.offers('limits@openssh.com')) await this.#learnLimits();
  }

  async #learnLimits(): Promise<void> {
    const { type, fields } = await this.#ask(PacketType.extended, ['limits@openssh.com']);
    if (type !== PacketType.extendedReply) return;
    fields.uint64();
    const clamp = (value: number): number =>
      value === 0 ? smallestPayload : Math.max(1024, Math.min(largestPayload, value));
    this.#limits = {
      readBytes: clamp(fields.uint64()),
      writeBytes: clamp(fields.uint64()),
      openHandles: fields.uint64() || 100,
    };
  }

  #takeEntries(reply: Reply, into: FolderEntry[]): boolean {
    const { type, fields } = reply;
    if (type !== PacketType.name) {
      const status = statusOf(reply);
      if (status?.code === StatusCode.eof) return true;
      throw status ?? this.#break(new SftpProtocolError('it answers to readdir without names'));
    }
    const count = fields.uint32();
    if (count === 0) return true;
    for (let left = count; left > 0; left--) {
      const name = fields.latin1();
      fields.bytes();
      const attributes = fields.attributes();
      if (name !== '.' && name !== '..' && name.length <= longestName) into.push({ name, attributes });
    }
    if (into.length > mostFolderEntries) throw new SftpProtocolError('a folder has too many entries');
    return false;
  }

  async #askForStatus(type: number, fields: readonly Field[], tail?: Tail): Promise<void> {
    const status = statusOf(await this.#ask(type, fields, tail));
    if (!status) throw this.#break(new SftpProtocolError(`it answers request ${type} without a status`));
    if (status.code !== StatusCode.ok) throw status;
  }

  async #ask(type: number, fields: readonly Field[], tail?: Tail): Promise<Reply> {
    await this.#requests.take(1);
    try {
      if (this.#failure) throw this.#failure;
      const id = this.#nextId;
      this.#nextId = (id + 1) >>> 0;
      const { promise, resolve, reject } = Promise.withResolvers<Reply>();
      if (this.#pending.size === 0) this.#heardAtMs = this.#clock.monotonicMs();
      this.#pending.set(id, { resolve, reject });
      const { output } = this.#channel;
      output.cork();
      output.write(encodePacket(type, id, fields, tail?.bytes.length));
      if (tail) output.write(tail.bytes);
      tail?.onSent?.();
      process.nextTick(() => output.uncork());
      return await promise;
    } finally {
      this.#requests.give(1);
    }
  }

  #receive(packet: Buffer): void {
    const fields = new PacketReader(packet);
    const type = fields.byte();
    const id = fields.uint32();
    if (type === PacketType.version) {
      if (id !== protocolVersion) throw new SftpProtocolError(`it speaks version ${id} of SFTP, not 3`);
      while (!fields.isAtEnd) {
        this.#extensions.add(fields.latin1());
        fields.bytes();
      }
      this.#isGreeted = true;
      this.#greeting.resolve();
      return;
    }
    const request = this.#pending.get(id);
    if (!request) throw new SftpProtocolError('it answers what nobody has asked');
    this.#pending.delete(id);
    request.resolve({ type, fields });
  }

  /** Ends the connection because the other side cannot be understood. */
  #break(error: Error): Error {
    this.#end(error);
    this.#channel.kill();
    return error;
  }

  #end(failure: Error): void {
    if (this.#failure) return;
    this.#failure = failure;
    clearInterval(this.#watch);
    this.#greeting.reject(failure);
    for (const { reject } of this.#pending.values()) reject(failure);
    this.#pending.clear();
  }

  #watchSilence(): void {
    this.#watch = setInterval(
      () => {
        const silentMs = this.#clock.monotonicMs() - this.#heardAtMs;
        const isOwed = this.#pending.size > 0 || !this.#isGreeted;
        if (isOwed && silentMs > this.#silenceMs)
          this.#break(new SshFailure(`no answer for ${Math.round(silentMs / 1000)} seconds`, true));
      },
      Math.max(10, this.#silenceMs / 8),
    );
    this.#watch.unref();
  }
}

function handleOf(reply: Reply): Handle {
  if (reply.type === PacketType.handle) {
    const handle = reply.fields.bytes();
    if (handle.length > longestHandle) throw new SftpProtocolError('a handle is too long');
    return Buffer.from(handle) as Handle;
  }
  throw statusOf(reply) ?? new SftpProtocolError('it answers to opening without a handle');
}

function statusOf({ type, fields }: Reply): SftpStatusError | undefined {
  if (type !== PacketType.status) return undefined;
  const code = fields.uint32();
  const message = fields.isAtEnd ? '' : shownText(fields.bytes().toString('utf8'));
  return new SftpStatusError(code, message === '' ? `status ${code}` : message);
}
