import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import { loadSigner } from '../../keys/load-signer.ts';
import { archiveNamespace, signMessage } from '../../operation/sign-message.ts';
import { fingerprint } from '../../ssh/public-key.ts';
import type { CliContext } from '../context.ts';
import { openInput, readPieces } from '../input-file.ts';
import { addPassphraseFlags, passphraseRequester, type PassphraseFlags } from '../key-flags.ts';
import { OutputFile } from '../output-file.ts';

interface Options extends PassphraseFlags {
  readonly signingKey: string;
  readonly namespace: string;
  readonly force?: boolean;
}

export const examples: readonly string[] = [
  'salvage sign --signing-key ~/.ssh/id_ed25519 web-1-backup-2026-11-23.tar.zst.age',
  'salvage sign --signing-key host.pub - < message > message.sig    # the private key is in ssh-agent',
];

export function register(program: Command, context: CliContext): void {
  program
    .argument(
      '<file...>',
      'what to sign; the signature goes to FILE.sig. "-" signs standard input to standard output',
    )
    .requiredOption(
      '--signing-key <file>',
      'OpenSSH private key, or a public key whose private half is in ssh-agent',
    )
    .option(
      '--namespace <name>',
      'what the signature is for; whoever checks it must say the same',
      archiveNamespace,
    )
    .option('--force', 'replace a signature that is there already');
  addPassphraseFlags(program);
  program.action((files: string[], options: Options) => sign(files, options, context));
}

async function sign(files: readonly string[], options: Options, context: CliContext): Promise<void> {
  const { signingKey, namespace, force = false } = options;
  for (const file of files) if (!force) checkFree(file);
  const signer = await loadSigner(signingKey, {
    requestPassphrase: passphraseRequester(options, context),
    agentSocket: context.env['SSH_AUTH_SOCK'],
    signal: context.signal,
  });
  for (const file of files) {
    using input = openInput(file, context);
    const signature = await signMessage(readPieces(input, context.signal), signer, { namespace });
    if (file === '-') {
      await context.stdout.write(signature);
      continue;
    }
    const path = signaturePath(file);
    if (!force) checkFree(file);
    using output = new OutputFile(path, { sync: true });
    output.write(Buffer.from(signature));
    output.commit();
    context.terminal.info(`Signed "${file}" with ${fingerprint(signer.publicKey)}: "${path}"`);
  }
}

function signaturePath(file: string): string {
  return `${file}.sig`;
}

function checkFree(file: string): void {
  if (file === '-' || !existsSync(signaturePath(file))) return;
  throw new SalvageError('failed', `Cannot sign "${file}": "${signaturePath(file)}" is there already`, {
    hint: 'Give --force to replace it.',
  });
}
