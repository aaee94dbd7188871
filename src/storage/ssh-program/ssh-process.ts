import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { describeSshEnd, SshFailure } from './ssh-failure.ts';
import type { SshTarget } from './ssh-target.ts';

const keptWords = 16 * 1024;
/** How long a program that was asked to end has for it. */
const graceMs = 2000;

/** A running ssh program: its standard input and output lead to a service on the other side. */
export class SshProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<SshFailure>;
  #said: Buffer = Buffer.alloc(0);
  /** To be set when the service has answered for the first time: what ends then was a connection. */
  isConnected = false;

  constructor([program, ...args]: readonly [string, ...string[]], target: SshTarget, env: NodeJS.ProcessEnv) {
    this.#child = spawn(program, args, { stdio: 'pipe', env });
    // Writing to a program that has ended: its end is told by `ended`.
    this.#child.stdin.on('error', () => {});
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#said = Buffer.concat([this.#said, chunk]).subarray(-keptWords);
    });
    const { promise, resolve } = Promise.withResolvers<SshFailure>();
    this.#ended = promise;
    this.#child.once('error', (error: NodeJS.ErrnoException) => {
      resolve(
        error.code === 'ENOENT'
          ? new SshFailure(
              `the program "${program}" is not there`,
              false,
              'Install OpenSSH (on Debian: apt-get install openssh-client), or name another program with --ssh-command.',
            )
          : new SshFailure(`the program "${program}" does not start: ${error.message}`, false),
      );
    });
    this.#child.once('close', (code, signal) => {
      resolve(describeSshEnd(target, this.#said.toString('utf8'), { code, signal }, this.isConnected));
    });
  }

  get input(): Writable {
    return this.#child.stdin;
  }

  get output(): Readable {
    return this.#child.stdout;
  }

  /** What it says to people. The end of it is kept for `ended` all the same. */
  get messages(): Readable {
    return this.#child.stderr;
  }

  /** Once it has ended, the exit code: of the command over there, or 255 of ssh itself; null if a signal ended it. */
  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  /** Resolves when the program has ended, with the reason. Never rejects. */
  get ended(): Promise<SshFailure> {
    return this.#ended;
  }

  /** Asks the program to end by closing its input, and makes it end when it does not. */
  async close(): Promise<void> {
    this.#child.stdin.end();
    this.#child.stdout.resume();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), graceMs);
    await this.#ended;
    clearTimeout(timer);
  }

  /** Ends the program at once. */
  kill(): void {
    this.#child.stdin.destroy();
    this.#child.stdout.destroy();
    this.#child.kill('SIGKILL');
  }
}
