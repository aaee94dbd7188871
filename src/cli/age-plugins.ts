import { AgePlugins } from '../age/plugin/age-plugins.ts';
import type { PluginUi } from '../age/plugin/plugin-ui.ts';
import type { RequestPassphrase } from '../age/recipient.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import type { CliContext } from './context.ts';
import { pluginCommand } from './plugin-program.ts';

/** How often somebody may press a key that was not offered. */
const mostTries = 3;

/**
 * The age plugins that this command may run; their questions go to the terminal, and those for a PIN or passphrase to
 * `requestPassphrase`. Nothing runs before a plugin's recipient or identity is used.
 */
export function agePlugins(requestPassphrase: RequestPassphrase, context: CliContext): AgePlugins {
  return new AgePlugins({
    env: context.env,
    ui: new TerminalPluginUi(requestPassphrase, context),
    bundled: { pkcs11: pluginCommand() },
    signal: context.signal,
  });
}

class TerminalPluginUi implements PluginUi {
  readonly #requestPassphrase: RequestPassphrase;
  readonly #context: CliContext;

  constructor(requestPassphrase: RequestPassphrase, context: CliContext) {
    this.#requestPassphrase = requestPassphrase;
    this.#context = context;
  }

  message(plugin: string, text: string): void {
    for (const line of text.split('\n')) this.#context.terminal.notice(`${plugin}: ${line}`);
  }

  async confirm(plugin: string, text: string, yes: string, no: string | undefined): Promise<boolean> {
    this.message(plugin, text);
    const choices = no === undefined ? `Press 1 for "${yes}"` : `Press 1 for "${yes}", 2 for "${no}"`;
    for (let attempt = 0; attempt < mostTries; attempt++) {
      const answer = (await this.#ask(`${choices}, then Enter`)).trim();
      if (answer === '1') return true;
      if (answer === '2' && no !== undefined) return false;
    }
    throw new SalvageError('usage', `Cannot answer the plugin "${plugin}": nothing was chosen`);
  }

  async requestPublic(plugin: string, prompt: string): Promise<string> {
    return (await this.#ask(`${plugin}: ${prompt}`)).trim();
  }

  async requestSecret(plugin: string, prompt: string, isRepeated: boolean): Promise<string> {
    if (isRepeated && (this.#requestPassphrase.attempts ?? 1) === 1)
      throw new SalvageError('usage', `Cannot answer the plugin "${plugin}" again: nobody types the answers`);
    return await this.#requestPassphrase(`${plugin}: ${prompt}`);
  }

  async #ask(prompt: string): Promise<string> {
    return await this.#context.terminal.requestLine(prompt, this.#context.signal);
  }
}
