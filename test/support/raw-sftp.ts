import {
  encodePacket,
  PacketReader,
  PacketSplitter,
  PacketType,
  type Field,
} from '../../src/storage/sftp/sftp-packet.ts';
import { sshCommandLine } from '../../src/storage/ssh-program/ssh-command.ts';
import { SshProcess } from '../../src/storage/ssh-program/ssh-process.ts';
import type { TestSshd } from './sshd.ts';

export interface RawReply {
  /** The status; 0 for any other answer. */
  readonly code: number;
  /** Of an answer that is a handle. */
  readonly handle: Uint8Array;
}

/** Sends whatever requests one likes, one after the other: what a client that means harm would do. */
export class RawSftp {
  readonly #ssh: SshProcess;
  readonly #packets: AsyncGenerator<Buffer>;
  #next = 0;

  private constructor(ssh: SshProcess) {
    this.#ssh = ssh;
    this.#packets = packets(ssh);
  }

  static async connect(sshd: TestSshd): Promise<RawSftp> {
    const target = { host: sshd.host, port: sshd.port, user: sshd.user };
    const settings = { sshCommand: sshd.client.sshCommand, env: {} };
    const ssh = new SshProcess(sshCommandLine(settings, target, { subsystem: 'sftp' }), target, process.env);
    const client = new RawSftp(ssh);
    ssh.input.write(encodePacket(PacketType.init, 3, []));
    await client.#packets.next();
    return client;
  }

  async request(type: number, ...fields: Field[]): Promise<RawReply> {
    this.#ssh.input.write(encodePacket(type, this.#next++, fields));
    const { value, done } = await this.#packets.next();
    if (done) throw new Error('the server has closed the connection');
    const packet = new PacketReader(value as Buffer);
    const answer = packet.byte();
    packet.uint32();
    return {
      code: answer === PacketType.status ? packet.uint32() : 0,
      handle: answer === PacketType.handle ? Uint8Array.from(packet.bytes()) : new Uint8Array(),
    };
  }

  async close(): Promise<void> {
    await this.#ssh.close();
  }
}

async function* packets(ssh: SshProcess): AsyncGenerator<Buffer> {
  const splitter = new PacketSplitter();
  for await (const chunk of ssh.output) yield* splitter.push(chunk as Buffer);
}
