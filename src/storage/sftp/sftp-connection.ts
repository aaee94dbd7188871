import type { Clock } from '../../clock/clock.ts';
import { SshFailure } from '../ssh-program/ssh-failure.ts';
import { SshProcess } from '../ssh-program/ssh-process.ts';
import type { SshTarget } from '../ssh-program/ssh-target.ts';
import { SftpSession, type SftpChannel } from './sftp-session.ts';

export interface ConnectionSettings {
  readonly commandLine: readonly [program: string, ...args: string[]];
  readonly target: SshTarget;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** A server that owes an answer and is silent for so long counts as dead. */
  readonly silenceMs: number;
  readonly isInteractive: boolean;
}

/** Where a storage gets its session. */
export interface SessionSource {
  /** The session that is open, or a new one. @throws SshFailure, SftpProtocolError */
  session(): Promise<SftpSession>;
  /** The session that is open, if one is. */
  readonly openSession: SftpSession | undefined;
  close(): Promise<void>;
}

/** The session that is open now: one at a time, and a new one when that has ended. */
export class SftpConnection implements SessionSource {
  readonly #settings: ConnectionSettings;
  #session: Promise<SftpSession> | undefined;
  #latest: SftpSession | undefined;
  #isClosed = false;

  constructor(settings: ConnectionSettings) {
    this.#settings = settings;
  }

  get openSession(): SftpSession | undefined {
    return this.#latest?.isAlive ? this.#latest : undefined;
  }

  async session(): Promise<SftpSession> {
    if (this.#isClosed) throw new SshFailure('the storage was closed', false);
    const current = this.#session;
    if (current && (await current.then(({ isAlive }) => isAlive).catch(() => false))) return await current;
    // Of all who find the session ended, the first opens the next one.
    if (this.#session === current) this.#session = this.#open();
    return await this.#session!;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const session = await this.#session?.catch(() => undefined);
    await session?.close();
  }

  async #open(): Promise<SftpSession> {
    const { commandLine, target, env, ...settings } = this.#settings;
    const ssh = new SshProcess(commandLine, target, { ...env });
    const channel: SftpChannel = {
      input: ssh.output,
      output: ssh.input,
      ended: ssh.ended,
      markConnected: () => {
        ssh.isConnected = true;
      },
      close: () => ssh.close(),
      kill: () => ssh.kill(),
    };
    try {
      this.#latest = await SftpSession.start(channel, settings);
      return this.#latest;
    } catch (error) {
      ssh.kill();
      throw error;
    }
  }
}
