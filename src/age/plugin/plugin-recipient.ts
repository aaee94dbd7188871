import { SalvageError } from '../../errors/salvage-error.ts';
import { headerLimits } from '../header.ts';
import type { Recipient, WrappedFileKey } from '../recipient.ts';
import type { Stanza } from '../stanza.ts';
import { bodyText } from './plugin-process.ts';
import type { ConversationPlan, Reply } from './conversation.ts';
import type { PluginText } from './plugin-text.ts';

/** Runs the plugin once. */
export type RunPlugin = (plan: ConversationPlan) => Promise<void>;

/** Wraps by a plugin, for one of its recipients or for the public half of one of its identities (recipient-v1). */
export class PluginRecipient implements Recipient {
  readonly key: PluginText;
  readonly #kind: 'recipient' | 'identity';
  readonly #run: RunPlugin;

  constructor(kind: 'recipient' | 'identity', key: PluginText, run: RunPlugin) {
    this.#kind = kind;
    this.key = key;
    this.#run = run;
  }

  /** @throws bad-key if the plugin is not there, fails, or does not answer as the protocol demands */
  async wrapFileKey(fileKey: Uint8Array): Promise<WrappedFileKey> {
    const answer = new WrapAnswer(this.key.plugin);
    await this.#run({
      stateMachine: 'recipient-v1',
      tell: (send) => {
        send(`add-${this.#kind}`, [this.key.text]);
        send('wrap-file-key', [], fileKey);
        send('extension-labels');
      },
      take: (command) => answer.take(command),
      finish: () => answer.check(),
    });
    return answer.result;
  }
}

class WrapAnswer {
  readonly #plugin: string;
  readonly #stanzas: Stanza[] = [];
  #labels: readonly string[] | undefined;
  #error: string | undefined;

  constructor(plugin: string) {
    this.#plugin = plugin;
  }

  take({ type, args, body }: Stanza): Reply {
    switch (type) {
      case 'recipient-stanza': {
        const [file, stanzaType, ...rest] = args;
        if (file !== '0' || stanzaType === undefined)
          throw this.#problem('it answers for another file than it was given');
        if (this.#stanzas.length === headerLimits.stanzas || rest.length > headerLimits.arguments)
          throw this.#problem('it answers with more than a header can hold');
        this.#stanzas.push({ type: stanzaType, args: rest, body });
        return 'ok';
      }
      case 'labels':
        if (this.#labels) throw this.#problem('it sends its labels twice');
        if (new Set(args).size !== args.length) throw this.#problem('it sends a label twice');
        this.#labels = args;
        return 'ok';
      case 'error':
        this.#error ??= bodyText(body);
        return 'ok';
      default:
        return 'unsupported';
    }
  }

  check(): void {
    if (this.#error !== undefined) throw this.#problem(this.#error);
    if (this.#stanzas.length === 0) throw this.#problem('it answers with nothing');
  }

  get result(): WrappedFileKey {
    return { stanzas: this.#stanzas, labels: this.#labels ?? [] };
  }

  #problem(state: string): SalvageError {
    return new SalvageError('bad-key', `Cannot encrypt with the plugin "${this.#plugin}": ${state}`);
  }
}
