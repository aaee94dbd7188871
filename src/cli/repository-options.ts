import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { SalvageError } from '../errors/salvage-error.ts';
import { keyPaths } from '../keys/key-paths.ts';
import { HostConfigurations } from '../operation/host-configurations.ts';
import { isLocalUrl, isSshUrl, openStorage } from '../storage/open-storage.ts';
import { OpeningStorage } from '../storage/opening-storage.ts';
import type { Storage } from '../storage/storage.ts';
import type { CliContext } from './context.ts';

/** What addRepositoryFlag puts among the options of a command. */
export interface RepositoryFlag {
  readonly repo?: string;
  readonly sshCommand?: string;
}

export interface OpeningFlags {
  /** True if the caller has other things to do before it needs storage: a connection may still be on its way then. */
  readonly mayWait?: boolean;
}

/** Adds --repo and --ssh-command. */
export function addRepositoryFlag(program: Command): void {
  program
    .option(
      '--repo <url>',
      'the repository: a path, file:///path, ssh://user@host/, sftp://user@host/path, s3://bucket/prefix or rclone:remote:path (default: $SALVAGE_REPOSITORY)',
    )
    .option(
      '--ssh-command <command>',
      'the ssh program with its arguments, for sftp:// and ssh:// (default: $SALVAGE_SSH, then ssh)',
    );
}

/** The repository that --repo or SALVAGE_REPOSITORY names, with the URL as it is to be kept. @throws usage if neither does */
export async function openRepositoryStorage(
  { repo, sshCommand }: RepositoryFlag,
  context: CliContext,
  { mayWait = false }: OpeningFlags = {},
): Promise<{ readonly storage: Storage; readonly url: string }> {
  const given = repo ?? context.env['SALVAGE_REPOSITORY'] ?? '';
  if (given === '')
    throw new SalvageError('usage', 'Cannot tell which repository is meant: none is named', {
      hint: 'Name it with --repo, or in SALVAGE_REPOSITORY.',
    });
  const { env, clock, signal, terminal } = context;
  const notify = (message: string): void => terminal.warning(message);
  const isInteractive = context.stdin.isTerminal;
  const opening = openStorage(given, { env, clock, sshCommand, isInteractive, signal, notify });
  // What ssh may have to ask somebody is asked before anything is shown.
  const storage =
    mayWait && !isInteractive && isSshUrl(given) ? new OpeningStorage(given, opening) : await opening;
  context.atEnd(() => storage.close());
  return { storage, url: isLocalUrl(given) && !given.startsWith('file:') ? resolve(given) : given };
}

/** Where the configurations of this host are: below the folder of its keys. */
export function hostConfigurations(context: CliContext): HostConfigurations {
  return new HostConfigurations(join(keyPaths(context.env).folder, 'repositories'));
}
