import { createHash } from 'node:crypto';
import { SalvageError } from '../../errors/salvage-error.ts';
import { fileKeyBytes } from '../file-key.ts';
import { encodeStanza } from '../header.ts';
import type { Identity, Recipient } from '../recipient.ts';
import type { Stanza } from '../stanza.ts';
import type { Reply } from './conversation.ts';
import { bodyText } from './plugin-process.ts';
import { PluginRecipient, type RunPlugin } from './plugin-recipient.ts';
import type { PluginText } from './plugin-text.ts';

type FileStanzas = readonly Stanza[];
type NamedFile = readonly [name: string, stanzas: FileStanzas];

/** Files that one run of a plugin is given. */
const mostFiles = 1024;
/** Runs with several files in which some are broken, before a file is tried alone. */
const mostBatches = 3;
/** Answers that are kept, 16 bytes each. */
const mostAnswers = 65_536;

/**
 * Unwraps by a plugin (identity-v1). Of the files that it was told to expect, many go through one run. A run that failed as
 * a whole is not repeated: it would ask again, and a token locks after a few wrong PINs.
 */
export class PluginIdentity implements Identity {
  readonly interactive = true;
  readonly #key: PluginText;
  readonly #run: RunPlugin;
  readonly #expected = new Map<string, FileStanzas>();
  readonly #answers = new Map<string, Uint8Array | SalvageError | undefined>();
  #failure: unknown;
  #hasOpened = false;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(key: PluginText, run: RunPlugin) {
    this.#key = key;
    this.#run = run;
  }

  expectFiles(files: readonly FileStanzas[]): void {
    for (const stanzas of files) {
      const name = digestOf(stanzas);
      if (this.#expected.size < mostAnswers && !this.#answers.has(name)) this.#expected.set(name, stanzas);
    }
  }

  /** @throws bad-key if the plugin is not there or fails; age-header if it says that this file is broken, of several */
  async unwrapFileKey(stanzas: FileStanzas): Promise<Uint8Array | undefined> {
    const name = digestOf(stanzas);
    const before = this.#turn;
    const answer = (async () => {
      await before.catch(() => {});
      if (!this.#answers.has(name)) await this.#unwrapWithOthers(name, stanzas);
      return this.#answers.get(name);
    })();
    this.#turn = answer;
    const fileKey = await answer;
    if (fileKey instanceof SalvageError) throw fileKey;
    return fileKey;
  }

  recipients(): readonly Recipient[] {
    return [new PluginRecipient('identity', this.#key, this.#run)];
  }

  async #unwrapWithOthers(name: string, stanzas: FileStanzas): Promise<void> {
    this.#expected.delete(name);
    for (let attempt = 0; !this.#answers.has(name); attempt++) {
      const others = attempt < mostBatches ? [...this.#expected].slice(0, mostFiles - 1) : [];
      const files: NamedFile[] = [[name, stanzas], ...others];
      const answer = await this.#unwrap(files);
      this.#hasOpened ||= answer.hasKeys;
      for (const [index, [fileName]] of files.entries()) {
        // A plugin may stop at the first broken file: nothing is known then of those that it does not mention.
        if (files.length > 1 && answer.hasBroken && !answer.mentions(index)) continue;
        this.#expected.delete(fileName);
        if (this.#answers.size === mostAnswers) this.#answers.delete(this.#answers.keys().next().value!);
        this.#answers.set(fileName, answer.of(index, this.#hasOpened));
      }
    }
  }

  async #unwrap(files: readonly NamedFile[]): Promise<UnwrapAnswer> {
    if (this.#failure !== undefined) throw this.#failure;
    const answer = new UnwrapAnswer(
      this.#key.plugin,
      files.map(([, stanzas]) => stanzas.length),
    );
    try {
      await this.#run({
        stateMachine: 'identity-v1',
        tell: (send) => {
          send('add-identity', [this.#key.text]);
          for (const [index, [, stanzas]] of files.entries())
            for (const { type, args, body } of stanzas)
              send('recipient-stanza', [String(index), type, ...args], body);
        },
        take: (command) => answer.take(command),
        finish: () => answer.check(),
      });
    } catch (error) {
      this.#failure = error;
      throw error;
    }
    return answer;
  }
}

class UnwrapAnswer {
  readonly #plugin: string;
  readonly #stanzaCounts: readonly number[];
  readonly #fileKeys = new Map<number, Uint8Array>();
  readonly #broken = new Map<number, string>();
  #error: string | undefined;

  constructor(plugin: string, stanzaCounts: readonly number[]) {
    this.#plugin = plugin;
    this.#stanzaCounts = stanzaCounts;
  }

  take({ type, args, body }: Stanza): Reply {
    switch (type) {
      case 'file-key': {
        const file = this.#fileIndex(args[0], args.length === 1);
        if (this.#fileKeys.has(file)) throw this.#problem('it sends two keys for one file');
        if (body.length !== fileKeyBytes)
          throw this.#problem(`it sends a file key of ${body.length} bytes where ${fileKeyBytes} are due`);
        this.#fileKeys.set(file, body);
        return 'ok';
      }
      case 'error':
        if (args[0] === 'stanza')
          this.#broken.set(this.#fileIndex(args[1], args.length === 3), bodyText(body));
        else this.#error ??= bodyText(body);
        return 'ok';
      default:
        return 'unsupported';
    }
  }

  /** @throws bad-key if the plugin failed altogether: it has no key for any file, and says why */
  check(): void {
    if (this.#error !== undefined && this.#fileKeys.size === 0) throw this.#problem(this.#error);
  }

  get hasKeys(): boolean {
    return this.#fileKeys.size > 0;
  }

  get hasBroken(): boolean {
    return this.#broken.size > 0;
  }

  mentions(file: number): boolean {
    return this.#fileKeys.has(file) || this.#broken.has(file);
  }

  /**
   * The file's key; undefined if the plugin has none; the error if it says that it ought to have one. Some plugins report a
   * wrong passphrase like that: it is the file that is broken if `isProven`, if the identity has opened another.
   */
  of(file: number, isProven: boolean): Uint8Array | SalvageError | undefined {
    const fileKey = this.#fileKeys.get(file);
    if (fileKey) return fileKey;
    const broken = this.#broken.get(file);
    if (broken !== undefined && isProven)
      return new SalvageError(
        'age-header',
        `Cannot read the age header: the plugin "${this.#plugin}" finds a stanza of its own broken: ${broken}`,
      );
    const state = broken ?? this.#error;
    return state === undefined ? undefined : this.#problem(state);
  }

  #fileIndex(text: string | undefined, isComplete: boolean): number {
    const index = /^(0|[1-9]\d{0,8})$/.test(text ?? '') ? Number(text) : -1;
    if (!isComplete || this.#stanzaCounts[index] === undefined)
      throw this.#problem('it answers for a file that it was not given');
    return index;
  }

  #problem(state: string): SalvageError {
    return new SalvageError('bad-key', `Cannot decrypt with the plugin "${this.#plugin}": ${state}`);
  }
}

function digestOf(stanzas: FileStanzas): string {
  const hash = createHash('sha256');
  for (const stanza of stanzas) hash.update(encodeStanza(stanza));
  return hash.digest('base64');
}
