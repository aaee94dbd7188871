import type { Command } from 'commander';
import { decryptStream } from '../../age/decrypt-stream.ts';
import { decryptFile } from '../../age/file/decrypt-file.ts';
import { passphraseAttempts } from '../../age/passphrase-attempts.ts';
import { PluginIdentity } from '../../age/plugin/plugin-identity.ts';
import type { Identity, RequestPassphrase } from '../../age/recipient.ts';
import { ScryptIdentity } from '../../age/scrypt.ts';
import type { Stanza } from '../../age/stanza.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { addAgeOptions, checkAgeOptions, type AgeOptions } from '../age-options.ts';
import type { CliContext } from '../context.ts';
import { openInput, readPieces, type InputFile } from '../input-file.ts';
import { passphraseRequester } from '../key-flags.ts';
import { checkNotAnInput, writeResult } from '../result-output.ts';
import { resolveIdentities } from '../resolve-keys.ts';
import { readArmorFromTerminal } from '../terminal-armor.ts';

export const examples: readonly string[] = [
  'salvage decrypt -i ~/.ssh/id_ed25519 data.tar.age | tar x',
  'salvage decrypt -o notes.txt notes.txt.age',
];
export const flagStyle = 'go';

export function register(program: Command, context: CliContext): void {
  const identities = addAgeOptions(program, 'decrypt');
  program.action(async (input: string | undefined, flags: Omit<AgeOptions, 'identities'>) => {
    const options = { ...flags, identities };
    checkAgeOptions(options, 'decrypt');
    await decrypt(input, options, context);
  });
}

/** `salvage decrypt`, and `salvage encrypt -d`. The options have been checked. */
export async function decrypt(
  path: string | undefined,
  options: AgeOptions,
  context: CliContext,
): Promise<void> {
  checkNotAnInput(path, options);
  using input = openInput(path, context);
  const requestPassphrase = passphraseRequester(options, context);
  const identities: Identity[] =
    options.identities.length === 0
      ? [new PassphraseOnly(input, requestPassphrase, context.signal)]
      : refusePassphrases(resolveIdentities(options.identities, requestPassphrase, context, 'warn'), input);
  await writeResult(
    {
      input,
      output: options.output,
      label: 'decrypting',
      toFd: (files) => decryptFile({ ...files, identities }),
      toPieces: () => decryptStream(readSource(input, context.signal), identities),
    },
    context,
  );
}

function readSource(input: InputFile, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const pieces = readPieces(input, signal);
  return input.isTerminal ? readArmorFromTerminal(pieces) : pieces;
}

/** Without -i a file can only be opened with its passphrase. */
class PassphraseOnly implements Identity {
  readonly interactive = true;
  readonly #name: string;
  readonly #scrypt: ScryptIdentity;

  constructor({ name }: InputFile, requestPassphrase: RequestPassphrase, signal: AbortSignal) {
    this.#name = name;
    this.#scrypt = new ScryptIdentity(() => passphraseAttempts(requestPassphrase, 'Enter passphrase'), {
      signal,
    });
  }

  async unwrapFileKey(stanzas: readonly Stanza[]): Promise<Uint8Array> {
    if (!stanzas.some(({ type }) => type === 'scrypt'))
      throw new SalvageError(
        'no-identity-match',
        `Cannot decrypt "${this.#name}": it is encrypted to keys, not with a passphrase`,
        { hint: 'name the private key: salvage decrypt -i FILE' },
      );
    const fileKey = await this.#scrypt.unwrapFileKey(stanzas);
    if (fileKey) return fileKey;
    throw new SalvageError('no-identity-match', `Cannot decrypt "${this.#name}": the passphrase is wrong`);
  }
}

/** A plugin may well know the passphrase; other identities do not. */
function refusePassphrases(identities: readonly Identity[], input: InputFile): Identity[] {
  const mayKnow = identities.some((identity) => identity instanceof PluginIdentity);
  return mayKnow ? [...identities] : [...identities, new NoPassphrase(input)];
}

/** With -i, a file that wants a passphrase is a mistake that deserves its own words. */
class NoPassphrase implements Identity {
  readonly #name: string;

  constructor({ name }: InputFile) {
    this.#name = name;
  }

  unwrapFileKey(stanzas: readonly Stanza[]): undefined {
    if (stanzas.length !== 1 || stanzas[0]!.type !== 'scrypt') return;
    throw new SalvageError(
      'no-identity-match',
      `Cannot decrypt "${this.#name}" with an identity: it is encrypted with a passphrase`,
      { hint: 'leave out -i/--identity and -j' },
    );
  }
}
