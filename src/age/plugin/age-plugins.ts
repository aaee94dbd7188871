import { SalvageError } from '../../errors/salvage-error.ts';
import type { Identity, IdentityPlugins, Recipient, RecipientPlugins } from '../recipient.ts';
import { converse } from './conversation.ts';
import { findPlugin } from './find-plugin.ts';
import { PluginIdentity } from './plugin-identity.ts';
import type { PluginProgram } from './plugin-process.ts';
import { PluginRecipient, type RunPlugin } from './plugin-recipient.ts';
import {
  encodePluginIdentity,
  parsePluginIdentity,
  parsePluginRecipient,
  type PluginText,
} from './plugin-text.ts';
import type { PluginUi } from './plugin-ui.ts';
import { SecretMemory } from './secret-memory.ts';

/** Programs that are looked for beside the PATH: those that salvage brings along. */
export type BundledPlugins = Readonly<Record<string, readonly [string, ...string[]]>>;

export interface AgePluginsOptions {
  /** Of the process; PATH is where plugins are looked for. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly ui: PluginUi;
  readonly bundled?: BundledPlugins;
  readonly signal?: AbortSignal;
  /** See PluginProcessOptions; ten minutes by default. */
  readonly silenceMs?: number;
}

const defaultSilenceMs = 10 * 60 * 1000;

/**
 * The age plugins of this machine (C2SP age-plugin.md): any program `age-plugin-NAME` in PATH, run when a recipient
 * or identity of that name is really used. Plugins run one after the other, so that their questions do not mix.
 */
export class AgePlugins implements RecipientPlugins, IdentityPlugins {
  readonly #options: AgePluginsOptions;
  readonly #secrets = new SecretMemory();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: AgePluginsOptions) {
    this.#options = options;
  }

  recipient(text: string): Recipient {
    const key = parsePluginRecipient(text);
    return new PluginRecipient('recipient', key, this.#runner(key));
  }

  identity(text: string): Identity {
    const key = parsePluginIdentity(text);
    return new PluginIdentity(key, this.#runner(key));
  }

  /** The identity of a plugin that needs no data, for -j NAME. @throws usage if it is no plugin's name */
  identityOf(name: string): Identity {
    return this.identity(encodePluginIdentity(name));
  }

  #runner({ plugin }: PluginText): RunPlugin {
    return async (plan) => {
      const { env, ui, signal, silenceMs = defaultSilenceMs } = this.#options;
      const options = { env, ui, signal, silenceMs, secrets: this.#secrets };
      const before = this.#turn;
      const run = (async () => {
        await before.catch(() => {});
        signal?.throwIfAborted();
        await converse(this.#find(plugin), plan, options);
      })();
      this.#turn = run;
      await run;
    };
  }

  #find(name: string): PluginProgram {
    const path = findPlugin(name, this.#options.env['PATH'] ?? '');
    const command = path === undefined ? this.#options.bundled?.[name] : ([path] as const);
    if (command) return { name, command };
    throw new SalvageError(
      'bad-key',
      `Cannot use the plugin "${name}": there is no program age-plugin-${name} in PATH`,
      { hint: `Install age-plugin-${name}, or add its folder to PATH.` },
    );
  }
}
