import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { toHex } from '../../bytes/bytes.ts';
import { randomBytes } from '../../clock/random.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { TransientError } from '../transient-error.ts';
import { shorten } from './rclone-failure.ts';

/**
 * The name under which the program knows the place that it serves: an alias made by its environment, so that whatever a
 * remote is called, no request has to quote it and no process list shows it.
 */
export const servedRemote = 'salvageserved:';

export interface RunningRclone {
  readonly port: number;
  /** The value of the header Authorization. */
  readonly authorization: string;
  /** A folder of our own for objects on their way; it goes when the program ends. */
  readonly spoolFolder: string;
  /** Aborted when the program has ended; the reason is a transient error with the last that it said. */
  readonly ended: AbortSignal;
}

// The shell ends rclone when we end it, or end ourselves, however that happens: our end of its standard input closes. It
// does not wait for its child before that, so the number of the process cannot belong to another one by then.
const guard = `spool=$1; shift; "$@" </dev/null & exec 2>/dev/null; read -r _; kill $!; wait $!; rm -rf -- "$spool"`;
const program = [
  'rclone',
  'rcd',
  '--rc-addr=127.0.0.1:0',
  '--rc-serve',
  // They count from the first byte of an upload to its last.
  '--rc-server-read-timeout=8760h',
  '--rc-server-write-timeout=8760h',
  '--ask-password=false',
  '--use-json-log',
  '--log-level=NOTICE',
];
/** Settings from the environment that would open another door, hide the log, or only pretend. */
const overruled =
  /^RCLONE_(?:RC(?:_.*|D.*)?|LOG_.*|SYSLOG.*|USE_JSON_LOG|VERBOSE|QUIET|DRY_RUN|INTERACTIVE|ASK_PASSWORD)$/;
const mostWords = 64 * 1024;
const graceMs = 5000;

/**
 * Runs `rclone rcd` for one place (`remote:path`, in rclone's own notation), reachable for whoever knows a random
 * password, on the loopback interface. The password is in the environment of the program, which only its user can read.
 */
export class RcloneProgram {
  readonly #target: string;
  readonly #env: Readonly<Record<string, string | undefined>>;
  #running: Promise<RunningRclone> | undefined;
  #child: ChildProcess | undefined;
  #isClosed = false;

  constructor(target: string, env: Readonly<Record<string, string | undefined>>) {
    this.#target = target;
    this.#env = env;
  }

  /** The program, which is started if it is not running. @throws failed if there is none, or it does not start */
  async running(): Promise<RunningRclone> {
    if (this.#isClosed) throw new Error('the storage is closed');
    if (!this.#running) {
      const running = this.#start();
      this.#running = running;
      const forget = (): void => {
        if (this.#running === running) this.#running = undefined;
      };
      running.then(({ ended }) => ended.addEventListener('abort', forget, { once: true }), forget);
    }
    return await this.#running;
  }

  /** Ends the program and waits until it has. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const { promise, resolve: done } = Promise.withResolvers<void>();
    child.once('exit', () => done());
    child.stdin!.end();
    const timer = setTimeout(() => endGroup(child), graceMs);
    await promise;
    clearTimeout(timer);
  }

  async #start(): Promise<RunningRclone> {
    const user = toHex(randomBytes(16));
    const password = toHex(randomBytes(32));
    const spoolFolder = makeSpoolFolder(this.#env['TMPDIR']);
    const child = spawn('/bin/sh', ['-c', guard, 'salvage-rclone', spoolFolder, ...program], {
      stdio: ['pipe', 'ignore', 'pipe'],
      env: {
        ...Object.fromEntries(Object.entries(this.#env).filter(([name]) => !overruled.test(name))),
        RCLONE_RC_USER: user,
        RCLONE_RC_PASS: password,
        // The remote is opened once (RcloneClient), and stays so.
        RCLONE_FS_CACHE_EXPIRE_DURATION: '8760h',
        RCLONE_CONFIG_SALVAGESERVED_TYPE: 'alias',
        RCLONE_CONFIG_SALVAGESERVED_REMOTE: this.#target,
      },
      // Ctrl-C is for us; the program ends when we have cleared up.
      detached: true,
    });
    this.#child = child;
    child.stdin.on('error', () => {});
    const log = new RcloneLog(child.stderr);
    const ended = new AbortController();
    child.stderr.once('close', () => {
      child.stdin.end();
      ended.abort(new TransientError(`rclone has ended${log.said === '' ? '' : `: ${log.said}`}`));
    });
    child.once('error', () => child.stderr.destroy());
    const port = await Promise.race([log.port, whenAborted(ended.signal)]);
    if (port === undefined)
      throw /not found|No such file/i.test(log.said)
        ? new SalvageError('failed', 'Cannot use rclone: the program is not there', {
            hint: 'Install it (on Debian: apt-get install rclone), or have it in the PATH.',
          })
        : new SalvageError('failed', `Cannot use rclone: it does not start: ${log.said}`, {
            hint: 'Look whether "rclone lsf REMOTE:PATH" works.',
          });
    const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
    return { port, authorization, spoolFolder, ended: ended.signal };
  }
}

/** What rclone says on standard error: JSON, one object per line, or plain text before it has read its flags. */
class RcloneLog {
  readonly port: Promise<number>;
  /** The last that was said. */
  said = '';
  readonly #found: (port: number) => void;
  #rest = '';

  constructor(output: Readable) {
    const { promise, resolve: found } = Promise.withResolvers<number>();
    this.port = promise;
    this.#found = found;
    output.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n');
      this.#rest = lines.pop()!.slice(-mostWords);
      lines.forEach((line) => this.#read(line));
    });
    output.on('error', () => {});
  }

  #read(line: string): void {
    const message = messageOf(line);
    const port = /Serving remote control on http:\/\/127\.0\.0\.1:(\d{1,5})\//.exec(message)?.[1];
    if (port !== undefined) this.#found(Number(port));
    else if (message.trim() !== '') this.said = shorten(message);
  }
}

function messageOf(line: string): string {
  try {
    const { msg } = JSON.parse(line) as { readonly msg?: unknown };
    return typeof msg === 'string' ? msg : '';
  } catch {
    return line;
  }
}

function makeSpoolFolder(temporary: string | undefined): string {
  const parent = resolve(temporary === undefined || temporary === '' ? '/tmp' : temporary);
  try {
    mkdirSync(parent, { recursive: true });
    return mkdtempSync(join(parent, 'salvage-rclone-'));
  } catch (cause) {
    throw new SalvageError('failed', `Cannot make a folder in "${parent}": ${(cause as Error).message}`, {
      hint: 'Objects rest there on their way to rclone; name another place with TMPDIR.',
      cause,
    });
  }
}

async function whenAborted(signal: AbortSignal): Promise<undefined> {
  if (!signal.aborted)
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  return undefined;
}

function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has just ended by itself.
  }
}
