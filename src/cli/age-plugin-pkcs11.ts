#!/usr/bin/env node
// The program age-plugin-pkcs11: any age client runs it, and talks to it over standard input and output.
import { servePlugin } from '../age/plugin/serve-plugin.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { readPassphrase, type PassphraseSource } from '../keys/passphrase-source.ts';
import { loadCryptoki } from '../pkcs11/load-cryptoki.ts';
import { Pkcs11Plugin } from '../pkcs11/pkcs11-plugin.ts';
import { version } from './version.ts';

const usage = `age-plugin-pkcs11 lets age and salvage decrypt with a P-256 key that never leaves a PKCS #11 token.
It is run by them, when they are given an identity AGE-PLUGIN-PKCS11-1…:

  salvage keygen --token /usr/lib/softhsm/libsofthsm2.so -o token-key.txt     makes the key in the token
  age -r age1tag1… -o FILE.age FILE                                           encrypts to it, anywhere
  age -d -i token-key.txt FILE.age                                            decrypts, with the token

The PIN is asked for by age or salvage, or comes from one of
  AGE_PKCS11_PIN_FILE=FILE   AGE_PKCS11_PIN_FD=NUMBER   AGE_PKCS11_PIN_COMMAND="pass show token"
AGE_PKCS11_MODULE=/path/to/module.so names another module than the identity does.
`;

async function main([argument = '--help']: readonly string[]): Promise<number> {
  const { env } = process;
  const [, stateMachine] = /^--age-plugin=(.*)$/s.exec(argument) ?? [];
  if (stateMachine === undefined) {
    const isKnown = ['--help', '-h', '--version'].includes(argument);
    (isKnown ? process.stdout : process.stderr).write(argument === '--version' ? `${version}\n` : usage);
    return isKnown ? 0 : 2;
  }
  const source = pinSource(env);
  const plugin = new Pkcs11Plugin({
    load: loadCryptoki,
    module: env['AGE_PKCS11_MODULE'],
    pin: source && (() => readPassphrase(source, new AbortController().signal)),
  });
  try {
    await servePlugin(stateMachine, plugin, {
      input: process.stdin,
      write: (bytes) => new Promise((resolve) => process.stdout.write(bytes, () => resolve())),
    });
    return 0;
  } finally {
    plugin.close();
  }
}

/** @throws usage if there is more than one */
function pinSource(env: NodeJS.ProcessEnv): PassphraseSource | undefined {
  const {
    AGE_PKCS11_PIN_FILE: file = '',
    AGE_PKCS11_PIN_FD: fd = '',
    AGE_PKCS11_PIN_COMMAND: command = '',
  } = env;
  const sources: PassphraseSource[] = [
    ...(file === '' ? [] : [{ file }]),
    ...(/^\d{1,5}$/.test(fd) ? [{ fd: Number(fd) }] : []),
    ...(command === '' ? [] : [{ command }]),
  ];
  if (sources.length > 1)
    throw new SalvageError(
      'usage',
      'Cannot take the PIN from two places: set only one of the variables AGE_PKCS11_PIN_…',
    );
  return sources[0];
}

// Not awaited: a bundle of this file is CommonJS.
void main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    if (!(error instanceof SalvageError)) throw error;
    process.stderr.write(`age-plugin-pkcs11: ${error.message}\n`);
    process.exit(error.code === 'usage' ? 2 : 1);
  },
);
