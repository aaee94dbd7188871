import type { Command } from 'commander';
import { TagRecipient } from '../age/tag.ts';
import type { PluginRecipient } from '../age/plugin/plugin-recipient.ts';
import { randomBytes } from '../clock/random.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { loadCryptoki } from '../pkcs11/load-cryptoki.ts';
import { modulePath } from '../pkcs11/module-path.ts';
import {
  decodeTokenKeyReference,
  encodeTokenKeyReference,
  pluginName,
} from '../pkcs11/token-key-reference.ts';
import { chooseToken, Token, type PinHolder, type TokenKey } from '../pkcs11/token.ts';
import type { CliContext } from './context.ts';
import { passphraseFromFlags } from './key-flags.ts';
import { parseNumber } from './option-values.ts';

export interface TokenFlags {
  readonly token?: string;
  readonly keyLabel: string;
  readonly pinFile?: string;
  readonly pinFd?: string;
  readonly pinCommand?: string;
}

/** A key that is in a token, for those who encrypt and for those who decrypt. */
export interface TokenKeyTexts {
  readonly recipient: string;
  /** Lines of an identity file. They say where the key is, and are no secret. */
  readonly identityFile: string;
}

const idBytes = 16;

export function addTokenFlags(program: Command): void {
  program
    .option(
      '--token <module>',
      'make a P-256 key that never leaves a PKCS #11 token: the path of its MODULE, or MODULE:LABEL, or MODULE:SERIAL; with -y, show the keys that are in it',
    )
    .option('--key-label <text>', 'with --token: what the key is called in the token', 'age')
    .option('--pin-file <file>', 'with --token: take the PIN from the first line of FILE')
    .option('--pin-fd <number>', 'with --token: take the PIN from an open file descriptor')
    .option('--pin-command <command>', 'with --token: take the PIN from what COMMAND prints');
}

/** @throws bad-key, usage */
export async function makeTokenKey(flags: TokenFlags, context: CliContext): Promise<TokenKeyTexts> {
  return await withToken(flags, 'write', context, (token, module) => {
    const key = token.generateKey(randomBytes(idBytes), flags.keyLabel);
    return textsOf(token, module, key, `# created: ${rfc3339(context.clock.now())}\n`);
  });
}

/** The keys in the token that can decrypt. @throws bad-key, usage */
export async function listTokenKeys(flags: TokenFlags, context: CliContext): Promise<TokenKeyTexts[]> {
  return await withToken(flags, 'read', context, (token, module) => {
    const keys = token.keys();
    if (keys.length === 0)
      throw new SalvageError(
        'bad-key',
        `Cannot find a key in the token "${token.info.label}": none of its keys is a P-256 key that may derive secrets`,
        { hint: 'Make one: salvage keygen --token MODULE' },
      );
    return keys.map((key) => textsOf(token, module, key, ''));
  });
}

/** The `age1tag1…` recipient of our own plugin's identities. @throws bad-key for those of other plugins */
export function recipientOfPlugin({ key }: PluginRecipient): string {
  if (key.plugin === pluginName)
    return new TagRecipient(decodeTokenKeyReference(key.text).publicKey).toString();
  throw new SalvageError(
    'bad-key',
    `Cannot convert the identity: only its plugin knows the recipient of an identity of "${key.plugin}"`,
    { hint: `age-plugin-${key.plugin} --help may tell how it is had.` },
  );
}

async function withToken<T>(
  flags: TokenFlags,
  access: 'read' | 'write',
  context: CliContext,
  work: (token: Token, module: string) => T,
): Promise<T> {
  const { path, wanted } = splitTokenFlag(flags.token!);
  const module = modulePath('', path);
  const cryptoki = loadCryptoki(module);
  try {
    const token = new Token(cryptoki, chooseToken(cryptoki, wanted), access);
    try {
      await token.logIn(new UserPinHolder(flags, context));
      return work(token, path);
    } finally {
      token.close();
    }
  } finally {
    cryptoki.close();
  }
}

/** A module's path may hold a colon; what names a token comes after the library's name. */
function splitTokenFlag(flag: string): { readonly path: string; readonly wanted: string | undefined } {
  const [, path, wanted] = /^(.*?\.(?:so(?:\.\d+)*|dylib)):(.+)$/.exec(flag) ?? [];
  return { path: path ?? flag, wanted };
}

function textsOf(token: Token, module: string, key: TokenKey, before: string): TokenKeyTexts {
  const { label, serial, manufacturer, model } = token.info;
  const recipient = new TagRecipient(key.compressedPoint).toString();
  const identity = encodeTokenKeyReference({
    publicKey: key.compressedPoint,
    id: key.id,
    serial,
    label,
    module,
  });
  const where = `key "${key.label}" in the token "${label}", serial number ${serial} (${manufacturer} ${model})`;
  return {
    recipient,
    identityFile: `${before}# ${oneLine(where)}\n# public key: ${recipient}\n${identity}\n`,
  };
}

class UserPinHolder implements PinHolder {
  readonly #context: CliContext;
  readonly #given: (() => Promise<string>) | undefined;
  #isUsed = false;

  constructor({ pinFile, pinFd, pinCommand }: TokenFlags, context: CliContext) {
    this.#context = context;
    this.#given = passphraseFromFlags(
      {
        ...(pinFile !== undefined && { passphraseFile: pinFile }),
        ...(pinFd !== undefined && {
          passphraseFd: parseNumber(pinFd, '--pin-fd', 0, 99_999),
        }),
        ...(pinCommand !== undefined && { passphraseCommand: pinCommand }),
      },
      context,
    );
  }

  async requestPin(prompt: string): Promise<string | undefined> {
    const { terminal, signal } = this.#context;
    if (!this.#given) return await terminal.requestPassphrase(prompt, signal);
    if (this.#isUsed) return undefined;
    this.#isUsed = true;
    return await this.#given();
  }

  async confirmLastTry(warning: string): Promise<boolean> {
    const { terminal, signal } = this.#context;
    terminal.warning(warning);
    return (await terminal.requestLine('Type yes to use the last try', signal)).trim() === 'yes';
  }

  async tell(message: string): Promise<void> {
    this.#context.terminal.notice(message);
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f]+/g, ' ');
}

function rfc3339(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, 'Z');
}
