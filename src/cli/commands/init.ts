import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import { keyPaths } from '../../keys/key-paths.ts';
import { loadSigner } from '../../keys/load-signer.ts';
import { makeSigningKey } from '../../keys/make-signing-key.ts';
import { adopt, checkHostName, init } from '../../operation/init/init.ts';
import type { LockPolicy } from '../../repository/host-configuration.ts';
import { formatPublicKey } from '../../ssh/public-key.ts';
import { agePlugins } from '../age-plugins.ts';
import type { CliContext } from '../context.ts';
import { openHostStorage } from '../host-storage.ts';
import {
  addPassphraseFlags,
  addRecipientFlags,
  passphraseRequester,
  type PassphraseFlags,
  type RecipientFlags,
} from '../key-flags.ts';
import { addLockFlags, readLockPolicy, type LockFlags } from '../lock-options.ts';
import { readRecipientTexts } from '../recipient-texts.ts';
import { addRepositoryFlag, hostConfigurations, type RepositoryFlag } from '../repository-options.ts';

interface Options extends RepositoryFlag, RecipientFlags, PassphraseFlags, LockFlags {
  readonly signingKey?: string;
  readonly name?: string;
  readonly adopt?: boolean;
}

export const examples: readonly string[] = [
  'salvage init --repo /backup/web-1 -R ~/.ssh/id_ed25519.pub',
  'salvage init --repo /backup/web-1 -r age1… --name web-1 | ssh keeper "cat >> allowed_signers"',
];

export function register(program: Command, context: CliContext): void {
  addRepositoryFlag(program);
  addRecipientFlags(program);
  program
    .option(
      '--signing-key <file>',
      'sign snapshots with this key: OpenSSH private key, or a public key whose private half is in ssh-agent (default: one of salvage, made if there is none)',
    )
    .option('--name <host>', 'the name under which verifiers know this host (default: its host name)')
    .option('--adopt', 'go on with a repository that exists, with new keys: the host configuration is lost');
  addLockFlags(program);
  addPassphraseFlags(program);
  program.action((options: Options) => run(options, context));
}

async function run(options: Options, context: CliContext): Promise<void> {
  const { terminal, clock, signal } = context;
  const lock = readLockPolicy(options);
  const { storage, url, isKeepers } = await openHostStorage(options, context);
  const recipients = readRecipientTexts(options, context);
  if (recipients.length === 0)
    throw new SalvageError('usage', 'Cannot set up a repository: no recipient is given', {
      hint: 'Name the public key of whoever is to restore, with -r or in a file with -R; salvage keygen makes a key pair.',
    });
  const name = options.name ?? hostname();
  checkHostName(name);
  const signingKey = await chooseSigningKey(options, name, context);
  const signer = await loadSigner(signingKey, {
    requestPassphrase: passphraseRequester(options, context),
    agentSocket: context.env['SSH_AUTH_SOCK'],
    signal: context.signal,
  });
  const plan = {
    storage,
    configurations: hostConfigurations(context),
    url,
    recipients,
    plugins: agePlugins(passphraseRequester({}, context), context),
    signingKey,
    name,
    lock,
    clock,
    signal,
  };
  if (options.adopt) {
    const { snapshots } = await adopt(plan);
    terminal.info(`Adopted the repository at "${storage.description}" with its ${snapshots} snapshots`);
    terminal.info('What the lost configuration costs:');
    terminal.info('- verifiers need the line below, beside the old one, if the signing key is a new one');
    terminal.info(
      '- the next backup reads everything, and stores large files anew: they are cut at other places now',
    );
    terminal.info(
      '- the old index cannot be opened by the new index key: without the cache all content is stored anew',
    );
  } else {
    await init(plan);
    terminal.info(`Made a repository at "${storage.description}"`);
  }
  if (lock) terminal.info(describeLock(lock));
  terminal.info('Whoever verifies needs this line in a file of allowed signers:');
  // The key alone on standard output, so that it can be sent on.
  const line = `${name} namespaces="salvage-snapshot" ${formatPublicKey(signer.publicKey)}`;
  if (isKeepers) return terminal.notice(line);
  await context.stdout.write(`${line}\n`);
  terminal.hint(`salvage backup --repo "${storage.description}" PATH…`);
}

function describeLock({ mode, days }: LockPolicy): string {
  const who = mode === 'compliance' ? 'Nobody' : 'Only who may bypass governance';
  return `${who} can destroy what a snapshot needs before ${days} days are over; a day to an eighth of that is added, so that not every backup has to extend every lock`;
}

async function chooseSigningKey(options: Options, name: string, context: CliContext): Promise<string> {
  if (options.signingKey !== undefined) return resolve(options.signingKey);
  const { signingKey } = keyPaths(context.env);
  if (!existsSync(signingKey)) {
    await makeSigningKey(signingKey, { comment: `salvage ${name}` });
    context.terminal.info(`Made the signing key "${signingKey}"`);
  }
  return signingKey;
}
