import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { SalvageError } from '../errors/salvage-error.ts';
import { keyPaths } from '../keys/key-paths.ts';
import { loadSigner } from '../keys/load-signer.ts';
import { keeperNamespace } from '../operation/keeper/keeper-records.ts';
import { KeeperSession, type KeeperOptions } from '../operation/keeper/keeper-session.ts';
import type { Signer } from '../ssh/signer.ts';
import type { Storage } from '../storage/storage.ts';
import type { CliContext } from './context.ts';
import { ensureSigningKey } from './ensure-signing-key.ts';
import { addPassphraseFlags, passphraseRequester, type PassphraseFlags } from './key-flags.ts';
import { addRepositoryFlag, type RepositoryFlag } from './repository-options.ts';
import { addKeeperFlag, addSignerFlags, readTrustedKeeper, type SignerFlags } from './signer-options.ts';
import { stateFolder } from './state-folder.ts';

/** What addKeeperFlags puts among the options of a command. */
export interface KeeperFlags extends RepositoryFlag, PassphraseFlags, SignerFlags {
  readonly signingKey?: string;
  readonly state?: string;
}

/** Adds what all commands of a keeper have in common. */
export function addKeeperFlags(program: Command): void {
  addRepositoryFlag(program);
  addSignerFlags(program);
  addKeeperFlag(program);
  program
    .option(
      '--signing-key <file>',
      "sign the keeper's records with this key: OpenSSH private key, or a public key whose private half is in ssh-agent (default: one of salvage, made if there is none)",
    )
    .option(
      '--state <folder>',
      'where the keeper remembers what it saw (default: $XDG_STATE_HOME/salvage/keeper)',
    );
  addPassphraseFlags(program);
}

/** Begins a run of the keeper. To be disposed. @throws as `KeeperSession.open`, usage, bad-key */
export async function openKeeperSession(
  storage: Storage,
  flags: KeeperFlags,
  context: CliContext,
): Promise<KeeperSession> {
  const signer = await loadKeeperSigner(await chooseKeeperKey(flags, context), flags, context);
  return await KeeperSession.open({ ...sessionOptions(storage, flags, context), signer });
}

/** Begins a run that does a share of what the keeper has signed, and signs nothing. @throws as `openKeeperSession` */
export async function openSharedSession(
  storage: Storage,
  flags: KeeperFlags,
  context: CliContext,
): Promise<KeeperSession> {
  const options = { ...sessionOptions(storage, flags, context), shared: true };
  const { keeperKey } = keyPaths(context.env);
  const key = flags.signingKey ?? (options.trusted || !existsSync(keeperKey) ? undefined : keeperKey);
  if (key === undefined && !options.trusted)
    throw new SalvageError('usage', 'Cannot prune a share: nobody said whose records to trust', {
      hint: 'Give --allowed-signers FILE with a line for the keeper, or its --signing-key.',
    });
  const signer = key === undefined ? undefined : await loadKeeperSigner(resolve(key), flags, context);
  return await KeeperSession.open({ ...options, signer });
}

async function loadKeeperSigner(key: string, flags: KeeperFlags, context: CliContext): Promise<Signer> {
  return await loadSigner(key, {
    requestPassphrase: passphraseRequester(flags, context),
    agentSocket: context.env['SSH_AUTH_SOCK'],
  });
}

function sessionOptions(
  storage: Storage,
  flags: KeeperFlags,
  context: CliContext,
): Omit<KeeperOptions, 'signer'> {
  return {
    storage,
    trusted: readTrustedKeeper(flags, context),
    stateFolder: flags.state ?? stateFolder('keeper', context),
    clock: context.clock,
    signal: context.signal,
    onNotice: (message) => context.terminal.warning(message),
  };
}

async function chooseKeeperKey({ signingKey }: KeeperFlags, context: CliContext): Promise<string> {
  if (signingKey !== undefined) return resolve(signingKey);
  return await ensureSigningKey(keyPaths(context.env).keeperKey, 'keeper', keeperNamespace, context);
}
