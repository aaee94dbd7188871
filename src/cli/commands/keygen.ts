import { closeSync, fstatSync, openSync, unlinkSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { formatIdentityFile, generateIdentity } from '../../age/generate.ts';
import { HybridRecipient } from '../../age/hybrid.ts';
import { PluginRecipient } from '../../age/plugin/plugin-recipient.ts';
import { X25519Recipient } from '../../age/x25519.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { CliContext } from '../context.ts';
import { addPassphraseFlags, passphraseRequester, type PassphraseFlags } from '../key-flags.ts';
import {
  addTokenFlags,
  recipientOfPlugin,
  listTokenKeys,
  makeTokenKey,
  type TokenFlags,
} from '../token-keys.ts';
import { recipientsOfIdentities, resolveIdentities } from '../resolve-keys.ts';
import { namesFile } from '../output-file.ts';
import { systemError } from '../system-error.ts';

export const examples: readonly string[] = [
  'salvage keygen -pq -o key.txt',
  'salvage keygen -y key.txt > recipients.txt',
  'salvage keygen --token /usr/lib/softhsm/libsofthsm2.so:backup -o token-key.txt',
];
export const flagStyle = 'go';

interface Options extends PassphraseFlags, TokenFlags {
  readonly pq?: boolean;
  readonly output?: string;
  readonly recipients?: boolean;
}

export function register(program: Command, context: CliContext): void {
  program
    .argument('[input]', 'with -y: the identity file; none or "-" is standard input')
    .option('--pq', 'make a post-quantum hybrid key pair (ML-KEM-768 and X25519); -pq does it, too')
    .option('-o, --output <file>', 'write to FILE, which must not be there yet, with mode 0600')
    .option('-y, --recipients', 'write the recipients of an identity file in place of new keys');
  addTokenFlags(program);
  addPassphraseFlags(program);
  program.action(async (input: string | undefined, options: Options) => {
    if (options.token !== undefined) await useToken(input, options, context);
    else if (options.recipients) await convert(input, options, context);
    else await generate(input, options, context);
  });
}

async function generate(input: string | undefined, options: Options, context: CliContext): Promise<void> {
  if (input !== undefined)
    throw new SalvageError('usage', 'Cannot make a key pair: an input is given, which only -y takes', {
      hint: `did you mean -o ${input}, to write the keys there?`,
    });
  const identity = generateIdentity(options.pq ? 'hybrid' : 'x25519');
  if (!namesFile(options.output) && isReadableByAll(context.stdout.fd))
    context.terminal.warning(
      'the secret key goes to a file that everybody may read',
      'write it with -o FILE',
    );
  await writeOutput(formatIdentityFile(identity, context.clock.now()), options.output, context);
  if (namesFile(options.output) || !context.stdout.isTerminal)
    context.terminal.info(`Public key: ${identity.recipient.toString()}`);
}

/** Makes a key in a PKCS #11 token, or with -y shows those that are in it: its owner has lost the identity file. */
async function useToken(input: string | undefined, options: Options, context: CliContext): Promise<void> {
  if (input !== undefined || options.pq)
    throw new SalvageError(
      'usage',
      `Cannot use a token: ${options.pq ? '-pq' : 'an input'} was given as well, which --token does not take`,
    );
  const made = options.recipients
    ? await listTokenKeys(options, context)
    : [await makeTokenKey(options, context)];
  await writeOutput(made.map(({ identityFile }) => identityFile).join('\n'), options.output, context);
  if (!namesFile(options.output) && context.stdout.isTerminal) return;
  for (const { recipient } of made) context.terminal.info(`Public key: ${recipient}`);
}

async function convert(input: string | undefined, options: Options, context: CliContext): Promise<void> {
  if (options.pq)
    throw new SalvageError(
      'usage',
      'Cannot convert an identity file: -pq, which makes new keys, was given as well',
    );
  const requestPassphrase = passphraseRequester(options, context);
  const identities = resolveIdentities([{ path: input || '-' }], requestPassphrase, context, 'warn');
  const lines = (await recipientsOfIdentities(identities)).map((recipient) => {
    if (recipient instanceof X25519Recipient || recipient instanceof HybridRecipient)
      return `${recipient.toString()}\n`;
    if (recipient instanceof PluginRecipient) return `${recipientOfPlugin(recipient)}\n`;
    throw new SalvageError('bad-key', 'Cannot convert the identity: it is an SSH key', {
      hint: 'its recipient is the .pub file beside it: salvage encrypt -R FILE.pub',
    });
  });
  await writeOutput(lines.join(''), options.output, context);
}

/** Never over an existing file: it might hold the only copy of a key. */
async function writeOutput(text: string, output: string | undefined, context: CliContext): Promise<void> {
  if (!namesFile(output)) return context.stdout.write(text);
  let fd: number;
  try {
    fd = openSync(output, 'wx', 0o600);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw systemError(`write "${output}"`, cause);
    throw new SalvageError('failed', `Cannot write "${output}": it is there already, and is left as it is`, {
      hint: 'give another name with -o',
      cause,
    });
  }
  try {
    writeFileSync(fd, text);
  } catch (cause) {
    unlinkSync(output);
    throw systemError(`write "${output}"`, cause);
  } finally {
    closeSync(fd);
  }
}

function isReadableByAll(fd: number): boolean {
  const status = fstatSync(fd);
  return status.isFile() && (status.mode & 0o004) !== 0;
}
