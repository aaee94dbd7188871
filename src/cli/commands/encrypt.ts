import type { Command } from 'commander';
import { encryptStream } from '../../age/encrypt-stream.ts';
import { encryptFile } from '../../age/file/encrypt-file.ts';
import type { Recipient } from '../../age/recipient.ts';
import { ScryptRecipient } from '../../age/scrypt.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { generatePassphrase } from '../../keys/generate-passphrase.ts';
import { addAgeOptions, checkAgeOptions, encryptsWithPassphrase, type AgeOptions } from '../age-options.ts';
import type { CliContext } from '../context.ts';
import { openInput, readPieces } from '../input-file.ts';
import { passphraseFromFlags, passphraseRequester } from '../key-flags.ts';
import { checkNotAnInput, writesToTerminal, writeResult } from '../result-output.ts';
import { recipientsOfIdentities, resolveIdentities, resolveRecipients } from '../resolve-keys.ts';
import { decrypt } from './decrypt.ts';

export const examples: readonly string[] = [
  'tar c ~/data | salvage encrypt -R ~/.ssh/id_ed25519.pub > data.tar.age',
  'salvage encrypt -p -o notes.txt.age notes.txt',
];
export const flagStyle = 'go';

export function register(program: Command, context: CliContext): void {
  const identities = addAgeOptions(program, 'encrypt');
  program.action(async (input: string | undefined, flags: Omit<AgeOptions, 'identities'>) => {
    const options = { ...flags, identities };
    if (checkAgeOptions(options, 'encrypt') === 'decrypt') await decrypt(input, options, context);
    else await encrypt(input, options, context);
  });
}

async function encrypt(path: string | undefined, options: AgeOptions, context: CliContext): Promise<void> {
  checkNotAnInput(path, options);
  using input = openInput(path, context);
  if (!options.armor && writesToTerminal(options.output, context) && options.output !== '-')
    throw new SalvageError('usage', 'Cannot write to the terminal: the output is not text', {
      hint: 'write to a file with -o FILE, or text with -a/--armor; -o - insists',
    });
  const recipients = await chooseRecipients(options, context);
  const armor = options.armor === true;
  await writeResult(
    {
      input,
      output: options.output,
      label: 'encrypting',
      toFd: (files) => encryptFile({ ...files, recipients, armor }),
      toPieces: () => encryptStream(readPieces(input, context.signal), recipients, { armor }),
    },
    context,
  );
}

async function chooseRecipients(options: AgeOptions, context: CliContext): Promise<Recipient[]> {
  if (encryptsWithPassphrase(options)) {
    const given = passphraseFromFlags(options, context);
    const passphrase = given
      ? await given()
      : await context.terminal.requestNewPassphrase('Enter passphrase', generatePassphrase, context.signal);
    return [new ScryptRecipient(passphrase)];
  }
  const requestPassphrase = passphraseRequester(options, context);
  const recipients = resolveRecipients(options, context, requestPassphrase);
  const identities = resolveIdentities(options.identities, requestPassphrase, context, 'warn');
  return [...recipients, ...(await recipientsOfIdentities(identities))];
}
