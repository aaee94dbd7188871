import { dirname, join, resolve } from 'node:path';
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { equalBytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { keyPaths } from '../../keys/key-paths.ts';
import { loadSigner } from '../../keys/load-signer.ts';
import { makeSigningKey } from '../../keys/make-signing-key.ts';
import { writeHandover } from '../../operation/handover.ts';
import { readRepositoryJson } from '../../operation/open-repository.ts';
import { snapshotNamespace } from '../../operation/reading/signed-snapshot.ts';
import { timeStamp } from '../../repository/ids.ts';
import { formatPublicKey } from '../../ssh/public-key.ts';
import type { CliContext } from '../context.ts';
import { addPassphraseFlags, passphraseRequester, type PassphraseFlags } from '../key-flags.ts';
import {
  addRepositoryFlag,
  hostConfigurations,
  openRepositoryStorage,
  type RepositoryFlag,
} from '../repository-options.ts';

interface Options extends RepositoryFlag, PassphraseFlags {
  readonly signingKey?: string;
}

export const examples: readonly string[] = [
  'salvage host rotate-signing-key --repo /backup/web-1',
  'salvage host rotate-signing-key --repo /backup/web-1 --signing-key ~/.ssh/id_ed25519.pub',
];

export function register(program: Command, context: CliContext): void {
  program.argument(
    '<action>',
    'rotate-signing-key: sign with a new key from now on, and say so with the old one',
  );
  addRepositoryFlag(program);
  program.option(
    '--signing-key <file>',
    'the new key: OpenSSH private key, or a public key whose private half is in ssh-agent (default: one of salvage, made now)',
  );
  addPassphraseFlags(program);
  program.action(async (action: string, options: Options) => {
    if (action !== 'rotate-signing-key')
      throw new SalvageError('usage', `Cannot do "${action}" with the host: it is rotate-signing-key`);
    await rotate(options, context);
  });
}

async function rotate(options: Options, context: CliContext): Promise<void> {
  const { terminal, clock, signal } = context;
  const { storage } = await openRepositoryStorage(options, context);
  const { id } = await readRepositoryJson(storage, signal);
  const configurations = hostConfigurations(context);
  const configuration = configurations.require(id, storage.description);
  const { name, signingKey: oldPath } = configuration;
  const load = {
    requestPassphrase: passphraseRequester(options, context),
    agentSocket: context.env['SSH_AUTH_SOCK'],
    signal,
  };
  // First of all: without it there is nothing to hand over with.
  const oldSigner = await loadSigner(oldPath, load);
  const newPath =
    options.signingKey === undefined ? await makeKey(name, context) : resolve(options.signingKey);
  const { publicKey } = await loadSigner(newPath, load);
  if (equalBytes(publicKey.blob, oldSigner.publicKey.blob))
    throw new SalvageError('usage', `Cannot rotate to "${newPath}": this host signs with that key already`);
  const { time, oldKey } = await writeHandover({
    storage,
    repository: id,
    host: name,
    oldSigner,
    newKey: publicKey,
    clock,
    signal,
  });
  configurations.write({ ...configuration, signingKey: newPath });
  const stamp = timeStamp(new Date(time)).replace('T', '');
  terminal.info(`Snapshots of this repository are signed with "${newPath}" from now on`);
  terminal.info(
    'Whoever verifies replaces the line of this host by these two, when you have told them so yourself:',
  );
  const line = (validity: string, key: string): string =>
    `${name} namespaces="${snapshotNamespace}",${validity} ${key}\n`;
  await context.stdout.write(
    line(`valid-before="${stamp}"`, oldKey) + line(`valid-after="${stamp}"`, formatPublicKey(publicKey)),
  );
  terminal.info(
    `The old key "${oldPath}" stays where it is; other repositories may use it. If it was stolen, no hand-over helps: have verifiers list it with --revoked-signers.`,
  );
}

async function makeKey(name: string, context: CliContext): Promise<string> {
  const { signingKey } = keyPaths(context.env);
  const stamp = timeStamp(context.clock.now()).toLowerCase();
  const path = join(dirname(signingKey), `signing-key-${stamp}`);
  if (!existsSync(path)) await makeSigningKey(path, { comment: `salvage ${name}` });
  context.terminal.info(`Made the signing key "${path}"`);
  return path;
}
