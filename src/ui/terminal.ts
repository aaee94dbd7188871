// All talk with the user goes through this file. Its rules:
//
// 1. Data goes to standard output, everything else (messages, progress, prompts) to standard error or /dev/tty.
//    `salvage … | other-program` and `salvage … > file` therefore work for every command.
// 2. Whatever comes from outside (names, messages about them) is escaped before it is shown: no file name moves the cursor.
// 3. Colour and progress only on a terminal that can show them; NO_COLOR and FORCE_COLOR are obeyed.
// 4. Nothing is asked where nobody can answer: without a terminal a question is an error that names the flag to use.
// 5. -q leaves warnings and errors, -v adds details and the chain of causes, --json turns errors into one JSON object.
// 6. A message is one line: what happened. A hint is a second line: what to do.
import { styleText } from 'node:util';
import type { Clock } from '../clock/clock.ts';
import { escapeForTerminal } from './escape.ts';
import { Progress } from './progress.ts';
import { readLine, readSecret, tellOnTerminal } from './read-secret.ts';
import { renderBug, renderError, renderJsonError } from './render-error.ts';
import { SalvageError } from '../errors/salvage-error.ts';

/** Where messages go: standard error, or a fake in tests. */
export interface MessageOutput {
  readonly isTerminal: boolean;
  /** Width of the terminal in columns, as it is now. */
  columns(): number;
  /** Writes at once. */
  write(text: string): void;
}

/** Gets every piece of information and every warning, also what -q does not show. */
export type MessageListener = (level: 'info' | 'warning', message: string) => void;

export interface TerminalSettings {
  quiet?: boolean;
  verbose?: boolean;
  json?: boolean;
  progress?: boolean;
}

type Style = Parameters<typeof styleText>[0];

export class Terminal {
  readonly #output: MessageOutput;
  readonly #clock: Clock;
  readonly #colour: boolean;
  /** Those for things that go on side by side have one above them, and their name. */
  readonly #above: Terminal | undefined;
  readonly #name: string;
  #settings: TerminalSettings = {};
  #progress: Progress | undefined;
  #listener: MessageListener | undefined;
  #asked: Promise<unknown> = Promise.resolve();

  constructor(
    output: MessageOutput,
    clock: Clock,
    env: Readonly<Record<string, string | undefined>>,
    above?: { readonly terminal: Terminal; readonly name: string },
  ) {
    this.#output = output;
    this.#clock = clock;
    this.#above = above?.terminal;
    this.#name = above?.name ?? '';
    this.#colour = above ? above.terminal.#colour : wantsColour(output.isTerminal, env);
  }

  /**
   * For one of several things that go on side by side: its name is in front of every line, it has a listener of its own,
   * and its progress is part of the line that this one shows. Who has to answer is asked one question after the other.
   */
  named(name: string): Terminal {
    const named = new Terminal(this.#output, this.#clock, {}, { terminal: this, name });
    named.configure(this.#settings);
    return named;
  }

  /** Takes over what the common flags say. */
  configure(settings: TerminalSettings): void {
    this.#settings = { ...this.#settings, ...settings };
  }

  /** From now on tells this listener, and no other, beside whoever reads the terminal. */
  listen(listener: MessageListener | undefined): void {
    this.#listener = listener;
  }

  get quiet(): boolean {
    return this.#settings.quiet === true;
  }

  get verbose(): boolean {
    return this.#settings.verbose === true;
  }

  /** One line about what was done or comes next, and one about what to do then. Silent with -q. */
  info(message: string, hint?: string): void {
    this.#listener?.('info', message);
    if (this.quiet) return;
    this.#line(escapeForTerminal(message));
    if (hint !== undefined) this.hint(hint);
  }

  /** One line for somebody who has to do something now, such as touching a key: shown even with -q. */
  notice(message: string): void {
    this.#line(escapeForTerminal(message));
  }

  /** One line for those who asked for details with -v. */
  detail(message: string): void {
    if (this.verbose) this.#line(this.#style('dim', escapeForTerminal(message)));
  }

  /** One line about something that went wrong without ending the run: each source that could not be read, say. */
  warning(message: string, hint?: string): void {
    this.#listener?.('warning', message);
    this.#line(`${this.#style('yellow', 'warning:')} ${escapeForTerminal(message)}`);
    if (hint !== undefined) this.hint(hint);
  }

  /** One line that says what to do. */
  hint(message: string): void {
    this.#line(`${this.#style('cyan', 'hint:')} ${escapeForTerminal(message)}`);
  }

  /** The error that ended the run: message and hint for a SalvageError, a request to report it for anything else. */
  error(error: unknown): void {
    if (this.#settings.json) this.#line(renderJsonError(error));
    else if (error instanceof SalvageError) {
      const style = (name: Style, text: string): string => this.#style(name, text);
      for (const line of renderError(error, this.verbose, style)) this.#line(line);
    } else for (const line of renderBug(error)) this.#line(line);
  }

  /**
   * Starts the progress line: it appears on a terminal only, not with -q, --json or --no-progress, and goes away with
   * `end()`. Without one, the returned object counts and shows nothing.
   */
  startProgress(label: string): Progress {
    if (this.#above) return new Progress(label, this.#clock, undefined, this.#above.#progress);
    const shown =
      this.#output.isTerminal &&
      !this.quiet &&
      this.#settings.json !== true &&
      this.#settings.progress !== false;
    this.#progress?.end();
    this.#progress = new Progress(label, this.#clock, shown ? this.#output : undefined);
    return this.#progress;
  }

  /**
   * Asks for an existing passphrase.
   * @throws usage if there is no terminal to ask on; interrupted
   */
  async requestPassphrase(prompt: string, signal: AbortSignal): Promise<string> {
    return await this.#ask(() => readSecret(prompt, signal));
  }

  /**
   * Asks for something that may be seen while it is typed.
   * @throws usage if there is no terminal to ask on; interrupted
   */
  async requestLine(prompt: string, signal: AbortSignal): Promise<string> {
    return await this.#ask(() => readLine(prompt, signal));
  }

  /**
   * Asks for a new passphrase, twice; an empty answer takes one from `generate`, which is shown.
   * @throws usage if there is no terminal to ask on; bad-key if the two answers differ; interrupted
   */
  async requestNewPassphrase(prompt: string, generate: () => string, signal: AbortSignal): Promise<string> {
    const first = await this.requestPassphrase(
      `${prompt} (leave empty to autogenerate a secure one)`,
      signal,
    );
    if (first === '') {
      const generated = generate();
      tellOnTerminal(`Using the autogenerated passphrase "${generated}".`);
      return generated;
    }
    if ((await this.requestPassphrase('Confirm passphrase', signal)) === first) return first;
    throw new SalvageError('bad-key', 'Cannot use the passphrase: the two that were typed differ', {
      hint: 'run the command again',
    });
  }

  async #ask(question: () => Promise<string>): Promise<string> {
    if (this.#above) return await this.#above.#ask(question);
    const answer = this.#asked.then(() => {
      this.#progress?.clear();
      return question();
    });
    this.#asked = answer.catch(() => {});
    return await answer;
  }

  #line(text: string): void {
    if (this.#above) return this.#above.#line(`${this.#name}: ${text}`);
    this.#progress?.clear();
    this.#output.write(`${text}\n`);
  }

  #style(style: Style, text: string): string {
    return this.#colour ? styleText(style, text, { validateStream: false }) : text;
  }
}

/** FORCE_COLOR says yes whatever the output is, NO_COLOR (no-color.org) says no, else a terminal that is not dumb. */
function wantsColour(isTerminal: boolean, env: Readonly<Record<string, string | undefined>>): boolean {
  const force = env['FORCE_COLOR'];
  if (force !== undefined && force !== '') return force !== '0' && force !== 'false';
  if (env['NO_COLOR']) return false;
  return isTerminal && env['TERM'] !== 'dumb';
}
