import { Option, type Command } from 'commander';
import { SalvageError } from '../errors/salvage-error.ts';
import {
  addIdentityFlags,
  addPassphraseFlags,
  addRecipientFlags,
  type IdentityFlag,
  type PassphraseFlags,
  type RecipientFlags,
} from './key-flags.ts';

/** The flags of age, on `salvage encrypt` and `salvage decrypt` alike. */
export interface AgeOptions extends RecipientFlags, PassphraseFlags {
  readonly encrypt?: boolean;
  readonly decrypt?: boolean;
  readonly passphrase?: boolean;
  readonly armor?: boolean;
  readonly output?: string;
  /** -i and -j in the order in which they were given. */
  readonly identities: readonly IdentityFlag[];
}

/**
 * Adds the flags of age. Those of the other direction work, too, so that `salvage encrypt` stands in for `age` with any
 * arguments, but are not shown in the help. Returns the list that -i and -j fill.
 */
export function addAgeOptions(program: Command, direction: 'encrypt' | 'decrypt'): IdentityFlag[] {
  const encrypting = direction === 'encrypt';
  program.argument('[input]', 'what to read; none or "-" is standard input');
  const add = (flags: string, description: string, shown: boolean): void => {
    const option = new Option(flags, description);
    program.addOption(shown ? option : option.hideHelp());
  };
  add('-e, --encrypt', 'encrypt, the default; needed to encrypt with -i or -j', encrypting);
  add('-d, --decrypt', 'decrypt', false);
  add('-o, --output <file>', 'write to FILE; "-" is standard output, even if that is a terminal', true);
  add('-a, --armor', 'write text in place of bytes', encrypting);
  add('-p, --passphrase', 'encrypt with a passphrase that you are asked for', encrypting);
  addRecipientFlags(program, encrypting);
  const identities = addIdentityFlags(
    program,
    encrypting ? 'with -e: encrypt to the recipients of this identity file' : undefined,
  );
  addPassphraseFlags(program);
  return identities;
}

/**
 * Which way to go, as age decides it.
 * @throws usage if the flags contradict each other
 */
export function checkAgeOptions(
  options: AgeOptions,
  direction: 'encrypt' | 'decrypt',
): 'encrypt' | 'decrypt' {
  if (options.decrypt || direction === 'decrypt') {
    checkDecryptOptions(options);
    return 'decrypt';
  }
  checkEncryptOptions(options);
  return 'encrypt';
}

function checkDecryptOptions({ encrypt, armor, passphrase, recipient, recipientsFile }: AgeOptions): void {
  if (encrypt) throw usage('decrypt: -e/--encrypt was given as well');
  if (armor)
    throw usage(
      'decrypt: -a/--armor was given as well',
      'armored files are recognised by themselves; try again without -a/--armor',
    );
  if (passphrase)
    throw usage(
      'decrypt: -p/--passphrase was given as well',
      'files that are encrypted with a passphrase are recognised by themselves; try again without -p/--passphrase',
    );
  const hint = 'did you mean -i/--identity, to name a private key?';
  if (recipient) throw usage('decrypt: -r/--recipient was given as well', hint);
  if (recipientsFile) throw usage('decrypt: -R/--recipients-file was given as well', hint);
}

function checkEncryptOptions(options: AgeOptions): void {
  const { encrypt, recipient, recipientsFile, identities } = options;
  if (identities.length > 0 && !encrypt)
    throw usage(
      'encrypt: -i/--identity and -j need -e/--encrypt beside them',
      'did you mean to decrypt? Then use salvage decrypt, or -d/--decrypt',
    );
  const others = [
    ...(recipient ? ['-r/--recipient'] : []),
    ...(recipientsFile ? ['-R/--recipients-file'] : []),
    ...(identities.length > 0 ? ['-i/--identity and -j'] : []),
  ];
  const withPassphrase = encryptsWithPassphrase(options);
  if (withPassphrase && others.length > 0)
    throw usage(`encrypt with a passphrase: ${others[0]} cannot stand beside it`);
  if (!withPassphrase && others.length === 0)
    throw usage(
      'encrypt: no recipient is given',
      'name one with -r/--recipient or -R/--recipients-file, or encrypt with a passphrase: -p/--passphrase',
    );
}

/** Whether the file is to be encrypted with a passphrase: -p, or a passphrase is given and no identity file that it could unlock. */
export function encryptsWithPassphrase(options: AgeOptions): boolean {
  const { passphrase, passphraseFile, passphraseFd, passphraseCommand, identities } = options;
  const { passphraseCredential } = options;
  const given = passphraseFile ?? passphraseFd ?? passphraseCommand ?? passphraseCredential;
  return passphrase === true || (given !== undefined && identities.length === 0);
}

function usage(state: string, hint?: string): SalvageError {
  return new SalvageError('usage', `Cannot ${state}`, hint === undefined ? {} : { hint });
}
