import { utf8Bytes } from '../../bytes/bytes.ts';
import { randomBytes } from '../../clock/random.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { decodeBase64, encodeBase64 } from '../base64.ts';
import type { Stanza } from '../stanza.ts';
import { bodyText, PluginProcess, type PluginProcessOptions, type PluginProgram } from './plugin-process.ts';
import type { PluginUi } from './plugin-ui.ts';
import type { SecretMemory } from './secret-memory.ts';

/** What a client answers where the user is not asked (C2SP age-plugin.md). */
export type Reply = 'ok' | 'unsupported';

export interface ConversationPlan {
  readonly stateMachine: 'recipient-v1' | 'identity-v1';
  /** Phase 1, without `done`. */
  tell(send: PluginProcess['send']): void;
  /** The plugin's commands in phase 2, except those for the user. Throws what ends the conversation. */
  take(command: Stanza): Reply;
  /** Called when the plugin has said its last word. Throws if what it said is no success. */
  finish(): void;
}

export interface ConversationOptions extends PluginProcessOptions {
  readonly ui: PluginUi;
  readonly secrets: SecretMemory;
}

/**
 * Runs the plugin once, through both phases. What it needs of the user it gets by `ui`.
 * @throws bad-key if the plugin fails or breaks the protocol; what `take` and `finish` throw; interrupted
 */
export async function converse(
  program: PluginProgram,
  plan: ConversationPlan,
  options: ConversationOptions,
): Promise<void> {
  const process = new PluginProcess(program, plan.stateMachine, options);
  const user = new User(program.name, options);
  let isDone = false;
  try {
    sendGrease(process);
    plan.tell((...stanza) => process.send(...stanza));
    sendGrease(process);
    process.send('done');
    while (!isDone) {
      const command = await process.receive();
      if (command.type === 'done') isDone = true;
      else if (!(await user.answer(command, process))) process.send(plan.take(command));
    }
  } finally {
    await process.close(isDone);
  }
  plan.finish();
  user.keepSecrets();
}

const userCommands: ReadonlySet<string> = new Set(['msg', 'confirm', 'request-public', 'request-secret']);
/** What a user may be asked and told in one run: a plugin that says more is out of order. */
const mostQuestions = 1000;

/** The part of phase 2 that is the same in both state machines. */
class User {
  readonly #plugin: string;
  readonly #ui: PluginUi;
  readonly #memory: SecretMemory;
  readonly #given = new Map<string, string>();
  #asked = 0;
  #commands = 0;

  constructor(plugin: string, { ui, secrets }: ConversationOptions) {
    this.#plugin = plugin;
    this.#ui = ui;
    this.#memory = secrets;
  }

  /** Answers the command; false if it is not one for the user. */
  async answer({ type, args, body }: Stanza, process: PluginProcess): Promise<boolean> {
    const ui = this.#ui;
    const text = bodyText(body);
    if (!userCommands.has(type)) return false;
    if (++this.#commands > mostQuestions)
      throw new SalvageError('bad-key', `Cannot use the plugin "${this.#plugin}": it does not stop talking`);
    try {
      switch (type) {
        case 'msg':
          ui.message(this.#plugin, text);
          process.send('ok');
          return true;
        case 'confirm': {
          const [yes, no] = args.map(decodeLabel);
          if (yes === undefined || args.length > 2) process.send('fail');
          else
            process.send('ok', [(await ui.confirm(this.#plugin, text, yes, no ?? undefined)) ? 'yes' : 'no']);
          return true;
        }
        case 'request-public':
          process.send('ok', [], utf8Bytes(await ui.requestPublic(this.#plugin, text)));
          return true;
        default:
          process.send('ok', [], utf8Bytes(await this.#secret(text)));
          return true;
      }
    } catch (error) {
      // There is nobody to answer, or there is no second answer: it is for the plugin to say what that means.
      if (!(error instanceof SalvageError) || !['usage', 'bad-key'].includes(error.code)) throw error;
      process.send('fail');
      return true;
    }
  }

  /**
   * To be called when the plugin has succeeded, which shows that the last answer was right. It also answers the questions that
   * the last one repeats ("Wrong PIN. Enter the PIN"); answers to others may have been wrong, and are forgotten.
   */
  keepSecrets(): void {
    const [lastPrompt, secret] = [...this.#given].at(-1) ?? [];
    if (lastPrompt === undefined || secret === undefined) return;
    for (const prompt of this.#given.keys())
      if (lastPrompt.includes(prompt)) this.#memory.set(this.#plugin, prompt, secret);
  }

  async #secret(prompt: string): Promise<string> {
    const isNew = !this.#given.has(prompt);
    const remembered = isNew ? this.#memory.get(this.#plugin, prompt) : undefined;
    // Asked for again, what was remembered is wrong or used up.
    this.#memory.delete(this.#plugin, prompt);
    const secret =
      remembered ?? (await this.#ui.requestSecret(this.#plugin, prompt, this.#asked > 0 || !isNew));
    if (remembered === undefined) this.#asked++;
    this.#given.delete(prompt);
    this.#given.set(prompt, secret);
    return secret;
  }
}

function decodeLabel(text: string): string | undefined {
  const bytes = decodeBase64(text);
  return bytes && bodyText(bytes);
}

/** So that plugins which cannot bear what they do not know are found out early (C2SP age-plugin.md "Grease"). */
function sendGrease(process: PluginProcess): void {
  const [dice, ...rest] = randomBytes(24);
  if (dice! % 3 === 0) return;
  const bytes = Uint8Array.from(rest);
  process.send(
    `grease-${encodeBase64(bytes.subarray(0, 6))}`,
    [encodeBase64(bytes.subarray(6, 9))],
    bytes.subarray(9, 9 + (dice! % 14)),
  );
}
