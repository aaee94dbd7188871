import { isAbsolute, join } from 'node:path';
import { Option, type Command } from 'commander';
import type { RequestPassphrase } from '../age/recipient.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { readPassphrase, type PassphraseSource } from '../keys/passphrase-source.ts';
import type { CliContext } from './context.ts';
import { gather, parseNumber } from './option-values.ts';

/** What addRecipientFlags puts among the options of a command. */
export interface RecipientFlags {
  readonly recipient?: readonly string[];
  readonly recipientsFile?: readonly string[];
}

/** What addPassphraseFlags puts there. At most one may be given; `passphraseRequester` checks it. */
export interface PassphraseFlags {
  readonly passphraseFile?: string;
  readonly passphraseFd?: number;
  readonly passphraseCommand?: string;
  readonly passphraseCredential?: string;
}

/** One -i or -j. Their order counts: identities are tried as they were given. */
export type IdentityFlag = { readonly path: string } | { readonly plugin: string };

const attemptsOnTerminal = 3;

/** Adds -r and -R. */
export function addRecipientFlags(program: Command, shown = true): void {
  const options = [
    new Option(
      '-r, --recipient <recipient>',
      'encrypt to this public key: age1…, ssh-ed25519 …, ssh-rsa … (repeatable)',
    ),
    new Option(
      '-R, --recipients-file <file>',
      'encrypt to every public key in FILE: id_ed25519.pub, authorized_keys, a list; "-" is standard input (repeatable)',
    ),
  ];
  for (const option of options) program.addOption(option.argParser(gather).hideHelp(!shown));
}

/** Adds -i and -j. Returns the list that they fill while the command line is parsed. */
export function addIdentityFlags(
  program: Command,
  description = 'open with the private keys in FILE: an age identity file, which may be encrypted, or an SSH private key; "-" is standard input (repeatable)',
): IdentityFlag[] {
  const identities: IdentityFlag[] = [];
  program
    .option('-i, --identity <file>', description, (path: string) => {
      identities.push({ path });
    })
    .option(
      '-j, --plugin <name>',
      'use the age plugin NAME, without data of its own (repeatable)',
      (plugin: string) => {
        identities.push({ plugin });
      },
    );
  return identities;
}

/** Adds the ways to give a passphrase without being asked. */
export function addPassphraseFlags(program: Command): void {
  program
    .option('--passphrase-file <file>', 'take the passphrase from the first line of FILE')
    .option('--passphrase-fd <number>', 'take the passphrase from an open file descriptor', (text) =>
      parseNumber(text, '--passphrase-fd', 0, 99_999),
    )
    .option(
      '--passphrase-command <command>',
      'take the passphrase from what COMMAND prints: "pass show backup"',
    )
    .option(
      '--passphrase-credential <name>',
      'take the passphrase from the systemd credential NAME (LoadCredentialEncrypted=NAME:… of the unit)',
    );
}

/**
 * The passphrase that the flags give, read once and only when first needed; undefined if they give none.
 * @throws usage if there is more than one, or if standard input serves another purpose; bad-key when it is read
 */
export function passphraseFromFlags(
  flags: PassphraseFlags,
  context: CliContext,
): (() => Promise<string>) | undefined {
  const sources = passphraseSources(flags, context);
  const [source] = sources;
  if (source === undefined) return undefined;
  if (sources.length > 1)
    throw new SalvageError(
      'usage',
      'Cannot take the passphrase from two places: give one --passphrase-… flag only',
    );
  if ('fd' in source && source.fd === 0) context.stdin.claim('the passphrase');
  let passphrase: Promise<string> | undefined;
  return () => (passphrase ??= readPassphrase(source, context.signal));
}

/** How existing passphrases are had: from the flags, or else by asking on the terminal. Nothing is asked before it is needed. */
export function passphraseRequester(flags: PassphraseFlags, context: CliContext): RequestPassphrase {
  const given = passphraseFromFlags(flags, context);
  if (given) return given;
  const ask = (prompt: string): Promise<string> => context.terminal.requestPassphrase(prompt, context.signal);
  // A file or a command would give the same again; who has mistyped gets another try, as ssh does it.
  return Object.assign(ask, { attempts: attemptsOnTerminal });
}

function passphraseSources(
  { passphraseFile, passphraseFd, passphraseCommand, passphraseCredential }: PassphraseFlags,
  context: CliContext,
): PassphraseSource[] {
  return [
    ...(passphraseFile === undefined ? [] : [{ file: passphraseFile }]),
    ...(passphraseFd === undefined ? [] : [{ fd: passphraseFd }]),
    ...(passphraseCommand === undefined ? [] : [{ command: passphraseCommand }]),
    ...(passphraseCredential === undefined
      ? []
      : [{ file: credentialPath(passphraseCredential, context.env['CREDENTIALS_DIRECTORY']) }]),
  ];
}

/** Where systemd has put a credential of the unit that this runs in (systemd.exec(5)). @throws usage */
function credentialPath(name: string, folder: string | undefined): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/.test(name))
    throw new SalvageError(
      'usage',
      `Cannot use --passphrase-credential "${name}": it is no name of a credential`,
    );
  if (folder !== undefined && isAbsolute(folder)) return join(folder, name);
  throw new SalvageError(
    'usage',
    `Cannot read the credential "${name}": no service manager has given this process any`,
    {
      hint: `Put LoadCredentialEncrypted=${name}:FILE into the unit; systemd-creds encrypt - FILE makes the file.`,
    },
  );
}
