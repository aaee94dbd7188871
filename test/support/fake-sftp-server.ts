import { Duplex } from 'node:stream';
import { systemClock } from '../../src/clock/clock.ts';
import {
  encodePacket,
  OpenFlag,
  PacketReader,
  PacketSplitter,
  PacketType,
  StatusCode,
  type Field,
} from '../../src/storage/sftp/sftp-packet.ts';
import { SftpSession } from '../../src/storage/sftp/sftp-session.ts';
import type { SessionSource } from '../../src/storage/sftp/sftp-connection.ts';
import { SshFailure } from '../../src/storage/ssh-program/ssh-failure.ts';

/** What a server sends instead of an honest answer: any number of pieces. Undefined: the honest answer. */
export type Tamper = (
  answer: Buffer,
  request: { readonly type: number; readonly count: number; readonly text: string },
) => Buffer[] | undefined;

const { eof, failure, noSuchFile, ok, unsupported } = StatusCode;

/** An SFTP server in this process, over files in memory: honest, but for what `tamper` makes of its answers. */
export class FakeSftpServer implements SessionSource {
  readonly files: Map<string, Buffer> = new Map();
  readonly folders: Set<string> = new Set(['.']);
  readonly #tamper: Tamper;
  readonly #silenceMs: number;
  #session: Promise<SftpSession> | undefined;
  #count = 0;
  #cut: (() => void) | undefined;
  openSession: SftpSession | undefined;

  constructor(tamper: Tamper = () => undefined, silenceMs = 60_000) {
    this.#tamper = tamper;
    this.#silenceMs = silenceMs;
  }

  async session(): Promise<SftpSession> {
    if (this.openSession && !this.openSession.isAlive) this.#session = undefined;
    this.#session ??= this.#connect();
    this.openSession = await this.#session;
    return this.openSession;
  }

  /** Breaks the connection. The next session is a new one. */
  cut(): void {
    this.#cut?.();
  }

  async close(): Promise<void> {
    await this.openSession?.close();
  }

  async #connect(): Promise<SftpSession> {
    const { promise, resolve } = Promise.withResolvers<SshFailure>();
    const handles = new Map<string, { path: string; entries?: string[] }>();
    const splitter = new PacketSplitter();
    const line = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _encoding, done) => {
        for (const packet of splitter.push(chunk)) {
          const type = packet[0]!;
          const honest = this.#answer(packet, handles);
          const pieces = this.#tamper(honest, { type, count: this.#count++, text: firstText(packet) }) ?? [
            honest,
          ];
          for (const piece of pieces) line.push(piece);
        }
        done();
      },
    });
    const end = (): void => {
      line.destroy();
      resolve(new SshFailure('the connection was cut', true));
    };
    this.#cut = end;
    return await SftpSession.start(
      {
        input: line,
        output: line,
        ended: promise,
        markConnected: () => {},
        close: async () => await Promise.resolve(end()),
        kill: end,
      },
      { clock: systemClock, silenceMs: this.#silenceMs, isInteractive: false },
    );
  }

  #answer(packet: Buffer, handles: Map<string, { path: string; entries?: string[] }>): Buffer {
    const request = new PacketReader(packet);
    const type = request.byte();
    const id = request.uint32();
    const reply = (answer: number, ...fields: Field[]): Buffer => encodePacket(answer, id, fields);
    const status = (code: number): Buffer => reply(PacketType.status, code, 'so it is', '');
    if (type === PacketType.init)
      return encodePacket(PacketType.version, 3, ['hardlink@openssh.com', '1', 'fsync@openssh.com', '1']);
    const text = request.latin1();
    switch (type) {
      case PacketType.open: {
        const flags = request.uint32();
        const isThere = this.files.has(text);
        if (isThere && flags & OpenFlag.exclusive) return status(failure);
        if (!isThere && !(flags & OpenFlag.create)) return status(noSuchFile);
        if (!isThere) this.files.set(text, Buffer.from(new ArrayBuffer(0)));
        handles.set(String(id), { path: text });
        return reply(PacketType.handle, String(id));
      }
      case PacketType.opendir: {
        if (!this.folders.has(text)) return status(noSuchFile);
        handles.set(String(id), { path: text, entries: this.#entriesOf(text) });
        return reply(PacketType.handle, String(id));
      }
      case PacketType.readdir: {
        const found = handles.get(text)?.entries?.splice(0) ?? [];
        if (found.length === 0) return status(eof);
        const fields = found.flatMap((path) => [
          path.slice(path.lastIndexOf('/') + 1),
          '',
          ...this.#attributes(path)!,
        ]);
        return reply(PacketType.name, found.length, ...fields);
      }
      case PacketType.lstat: {
        const attributes = this.#attributes(text);
        return attributes ? reply(PacketType.attributes, ...attributes) : status(noSuchFile);
      }
      case PacketType.read: {
        // A client that was told nonsense asks for nonsense.
        const file = this.files.get(handles.get(text)?.path ?? '');
        if (!file) return status(failure);
        const offset = request.uint64();
        const bytes = file.subarray(offset, offset + request.uint32());
        return bytes.length === 0 ? status(eof) : reply(PacketType.data, bytes);
      }
      case PacketType.write: {
        const { path } = handles.get(text) ?? { path: '' };
        const file = this.files.get(path);
        if (!file) return status(failure);
        const offset = request.uint64();
        const bytes = request.bytes();
        this.files.set(path, withBytes(file, offset, bytes));
        return status(ok);
      }
      case PacketType.mkdir:
        if (this.folders.has(text)) return status(failure);
        this.folders.add(text);
        return status(ok);
      case PacketType.remove:
        return status(this.files.delete(text) ? ok : noSuchFile);
      case PacketType.close:
        return status(ok);
      case PacketType.extended: {
        if (text !== 'hardlink@openssh.com') return status(text === 'fsync@openssh.com' ? ok : unsupported);
        const from = this.files.get(request.latin1());
        const to = request.latin1();
        if (!from || this.files.has(to)) return status(failure);
        this.files.set(to, from);
        return status(ok);
      }
      default:
        return status(unsupported);
    }
  }

  #attributes(path: string): Field[] | undefined {
    const file = this.files.get(path);
    if (file) return [0x5, BigInt(file.length), 0o100_600];
    return this.folders.has(path) ? [0x5, 0n, 0o040_700] : undefined;
  }

  #entriesOf(folder: string): string[] {
    const base = folder === '.' ? '' : `${folder}/`;
    return [...this.files.keys(), ...this.folders].filter(
      (path) => path !== '.' && path.startsWith(base) && !path.slice(base.length).includes('/'),
    );
  }
}

/** The path, handle or extension that a request begins with. */
function firstText(packet: Buffer): string {
  const length = packet.length >= 9 ? packet.readUInt32BE(5) : 0;
  return packet.subarray(9, 9 + length).toString('latin1');
}

/** The file with these bytes at that place. Room to grow is left behind it, so that long files cost little. */
function withBytes(file: Buffer, offset: number, bytes: Buffer): Buffer {
  const end = Math.max(file.length, offset + bytes.length);
  const room = file.buffer.byteLength - file.byteOffset;
  let grown: Buffer;
  if (room >= end && file.byteOffset === 0 && room > 64 * 1024) grown = Buffer.from(file.buffer, 0, end);
  else {
    grown = Buffer.from(new ArrayBuffer(Math.max(end * 2, 128 * 1024)), 0, end);
    file.copy(grown);
  }
  bytes.copy(grown, offset);
  return grown;
}
