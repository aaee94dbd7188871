import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { tmpdir } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { asBuffer } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { encodeStanza } from '../header.ts';
import type { Stanza } from '../stanza.ts';
import { StanzaReader } from './stanza-reader.ts';

export interface PluginProgram {
  readonly name: string;
  /** The program, and arguments that come before those of the protocol. */
  readonly command: readonly [string, ...string[]];
}

export interface PluginProcessOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A plugin that says nothing for so long is ended. Long, for it may wait for somebody to find a key and touch it. */
  readonly silenceMs: number;
  readonly signal: AbortSignal | undefined;
}

const empty = new Uint8Array(0);
/** What one conversation may bring: far more than any that makes sense, and an end to those that do not. */
const mostStanzas = 100_000;
const mostBytes = 64 * 1024 * 1024;
const keptStderrBytes = 2048;
/** After its last word a plugin has so long to end by itself. */
const endMs = 2000;

/** A running plugin and the stanzas that go to it and come from it. Always `close` it. */
export class PluginProcess {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #input: Writable;
  readonly #output: Readable;
  readonly #incoming: AsyncGenerator<Stanza, void, void>;
  readonly #exit: Promise<string>;
  readonly #options: PluginProcessOptions;
  readonly #onAbort: () => void;
  #stderr = '';
  #failure: unknown;
  #bytes = 0;
  #stanzas = 0;

  constructor(
    { name, command: [file, ...before] }: PluginProgram,
    stateMachine: 'recipient-v1' | 'identity-v1',
    options: PluginProcessOptions,
  ) {
    const { env, signal } = options;
    signal?.throwIfAborted();
    this.#name = name;
    this.#options = options;
    // As age does: plugins must not depend on the folder they are run in, and not find anything there.
    this.#child = spawn(file, [...before, `--age-plugin=${stateMachine}`], {
      cwd: tmpdir(),
      env: { ...env },
      stdio: standardStreams(env),
    });
    this.#input = this.#child.stdin!;
    this.#output = this.#child.stdout!;
    this.#incoming = this.#read();
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#exit = promise;
    this.#child.on('exit', (code, killedBy) => resolve(killedBy ?? `exit code ${code}`));
    this.#child.on('error', (cause) => {
      this.#fail(this.#problem(`it cannot be run: ${cause.message}`));
      resolve('no start');
    });
    // A plugin that ends early closes the pipe: what it said before tells, or how it ended.
    this.#input.on('error', () => {});
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString('utf8')).slice(-keptStderrBytes);
    });
    this.#child.stderr?.on('error', () => {});
    this.#onAbort = (): void => this.#fail(signal!.reason);
    signal?.addEventListener('abort', this.#onAbort);
  }

  send(type: string, args: readonly string[] = [], body: Uint8Array = empty): void {
    this.#input.write(encodeStanza({ type, args, body }));
  }

  /** The next stanza. @throws bad-key if the plugin ends, is silent for too long or breaks the protocol; the signal's reason */
  async receive(): Promise<Stanza> {
    const { silenceMs } = this.#options;
    const timer = setTimeout(
      () => this.#fail(this.#problem(`it has said nothing for ${Math.round(silenceMs / 1000)} seconds`)),
      silenceMs,
    );
    try {
      const next = await this.#incoming.next();
      if (this.#failure !== undefined) throw this.#failure;
      if (next.done) throw await this.#early();
      return next.value;
    } catch (error) {
      throw this.#failure ?? error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the plugin, gently if it has said its last word. */
  async close(wasDone: boolean): Promise<void> {
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#input.end();
    if (!wasDone) this.#child.kill('SIGKILL');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), endMs);
    // Whatever comes now is of no interest, but a full pipe would keep the plugin from ending.
    this.#output.destroy();
    this.#child.stderr?.destroy();
    await this.#exit;
    clearTimeout(timer);
  }

  /** An error that names the plugin: `state` is what is wrong with it. */
  #problem(state: string, cause?: unknown): SalvageError {
    return new SalvageError('bad-key', `Cannot use the plugin "${this.#name}": ${state}`, {
      hint: `AGEDEBUG=plugin shows what age-plugin-${this.#name} writes on standard error.`,
      ...(cause === undefined ? {} : { cause }),
    });
  }

  async *#read(): AsyncGenerator<Stanza, void, void> {
    const reader = new StanzaReader();
    for await (const chunk of this.#output as AsyncIterable<Buffer>) {
      this.#bytes += chunk.length;
      if (this.#bytes > mostBytes) throw this.#problem('it says more than any plugin has to say');
      try {
        for (const stanza of reader.push(chunk)) {
          yield stanza;
          if (++this.#stanzas > mostStanzas) throw this.#problem('it says more than any plugin has to say');
        }
      } catch (cause) {
        throw this.#problem(`it breaks the plugin protocol: ${stateOf(cause)}`, cause);
      }
    }
  }

  async #early(): Promise<SalvageError> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), endMs);
    const ending = await this.#exit;
    clearTimeout(timer);
    // Its last words may still be in the pipe.
    await new Promise((resolve) => setImmediate(resolve));
    const words = this.#stderr.trim();
    return this.#problem(`it ended before it was done (${ending})${words === '' ? '' : `: ${words}`}`);
  }

  #fail(failure: unknown): void {
    this.#failure ??= failure;
    this.#child.kill('SIGKILL');
    // What the plugin has started may hold the pipe open.
    this.#output.destroy();
  }
}

/**
 * Standard error is the user's with AGEDEBUG=plugin, as with age. Descriptors that a variable such as AGE_PASSPHRASE_FD
 * names are the plugin's business, and Node would close them.
 */
function standardStreams(env: PluginProcessOptions['env']): StdioOptions {
  const streams: (number | 'pipe' | 'ignore' | 'inherit')[] = [
    'pipe',
    'pipe',
    env['AGEDEBUG'] === 'plugin' ? 'inherit' : 'pipe',
  ];
  for (const [name, value] of Object.entries(env)) {
    if (!/^AGE_[A-Z0-9_]*FD$/.test(name) || !/^([3-9]|[1-5]\d)$/.test(value ?? '')) continue;
    const fd = Number(value);
    while (streams.length < fd) streams.push('ignore');
    streams[fd] = fd;
  }
  return streams;
}

function stateOf(error: unknown): string {
  return error instanceof Error ? error.message.slice(error.message.indexOf(': ') + 2) : String(error);
}

/** Text in a stanza body, of a length that can be shown. */
export function bodyText(body: Uint8Array): string {
  return asBuffer(body.subarray(0, 4096)).toString('utf8').trimEnd();
}
