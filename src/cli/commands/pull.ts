import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import { pull, type PullResult } from '../../operation/pull/pull.ts';
import { sshCommandLine } from '../../storage/ssh-program/ssh-command.ts';
import { SshProcess } from '../../storage/ssh-program/ssh-process.ts';
import { parseHost, type SshTarget } from '../../storage/ssh-program/ssh-target.ts';
import { quoteShellWord } from '../../storage/ssh/quote-shell-word.ts';
import { formatSize } from '../../ui/size.ts';
import type { CliContext } from '../context.ts';
import { keeperUrl } from '../host-storage.ts';
import { addRepositoryFlag, openRepositoryStorage, type RepositoryFlag } from '../repository-options.ts';
import { addSignerFlags, readTrustedSigners, type SignerFlags } from '../signer-options.ts';

/** What its options are, for whoever starts it otherwise than by its command line. */
export interface PullFlags extends RepositoryFlag, SignerFlags {
  readonly init?: boolean;
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage pull root@web-1 --repo /srv/backups/web-1 -- /etc /srv',
  'salvage pull root@web-1 --repo /srv/backups/web-1 --init -- -R /etc/salvage/recipients.txt',
];

const exitIncomplete = 3;
const exitBusy = 11;
const longestLine = 2000;

export function register(program: Command, context: CliContext): void {
  program
    .argument('<host>', 'where the files are: [user@]host, or ssh://user@host:port')
    .argument('[args...]', 'after --: paths and options for the backup on the host');
  addRepositoryFlag(program);
  addSignerFlags(program);
  program
    .option('--init', 'make the repository, and set the host up for it: options after -- are those of init')
    .option('--json', 'print the result as one JSON object')
    .action(async (host: string, args: string[], options: PullFlags) => {
      await runPull(host, args, options, context);
    });
}

/** Returns what `--json` says. @throws as the command */
export async function runPull(
  host: string,
  args: readonly string[],
  options: PullFlags,
  context: CliContext,
): Promise<object> {
  const { terminal, clock, signal, env } = context;
  const target = readHost(host);
  const trusted = readTrustedSigners(options, context);
  const command = sshCommandLine(
    { sshCommand: options.sshCommand, env, isInteractive: context.stdin.isTerminal },
    target,
    { command: remoteCommand(options.init ? 'init' : 'backup', args) },
  );
  const { storage } = await openRepositoryStorage(options, context);
  if (!trusted && !options.init)
    terminal.warning(
      'Signatures are checked to fit, but nobody said whose to trust',
      'give --allowed-signers FILE and --signer HOST',
    );
  const process = new SshProcess(command, target, env as NodeJS.ProcessEnv);
  context.atEnd(() => process.close());
  // The host is not trusted: what it says is shown line by line, under its name, and escaped.
  createInterface({ input: process.messages }).on('line', (line) =>
    terminal.info(`${target.host}: ${line.slice(0, longestLine)}`),
  );
  const progress = terminal.startProgress('pulling');
  let result: PullResult;
  try {
    result = await pull({
      storage,
      input: process.output,
      output: process.input,
      trusted,
      observer: {
        onConnected() {
          process.isConnected = true;
        },
        onStored: (bytes) => progress.advance(bytes, 0),
        onNotice: (message) => terminal.warning(message),
        onSnapshot: () => {},
      },
      clock,
      signal,
    });
  } finally {
    progress.end();
  }
  await process.close();
  await checkEnd(process, target, context);
  const { snapshots, storedBytes } = result;
  const ids = snapshots.map(({ id, signature }) => ({ snapshot: id, signature: signature.state }));
  const summary = { snapshots: ids, storedBytes };
  if (options.json) await context.stdout.write(`${JSON.stringify(summary)}\n`);
  else if (options.init) terminal.info(`Made a repository at "${storage.description}" for ${target.host}`);
  for (const { id } of snapshots)
    terminal.info(`Snapshot ${id} is stored and its signature fits: ${formatSize(storedBytes)}`);
  return summary;
}

function readHost(text: string): SshTarget {
  const parsed = parseHost(text);
  if (typeof parsed !== 'string') return parsed;
  throw new SalvageError('usage', `Cannot pull from "${text.slice(0, 300)}": ${parsed}`, {
    hint: 'Give [user@]host, or ssh://user@host:port; the paths to back up come after --.',
  });
}

/** What the host runs, unless the key is tied to a command there: then that, and the arguments do not count. */
function remoteCommand(command: string, args: readonly string[]): string {
  return ['salvage', command, '--repo', keeperUrl, ...args].map(quoteShellWord).join(' ');
}

/** How the backup over there ended is how the pull does. */
async function checkEnd(process: SshProcess, target: SshTarget, context: CliContext): Promise<void> {
  const { message, hint } = await process.ended;
  const { exitCode } = process;
  if (exitCode === 0 && process.isConnected) return;
  if (exitCode === exitIncomplete) return context.incomplete();
  if (exitCode === exitBusy)
    throw new SalvageError('busy', `Cannot pull from "${target.host}": another backup is running there`);
  if (process.isConnected)
    throw new SalvageError('failed', `Cannot pull from "${target.host}": the backup there has failed`, {
      hint: 'What it said is above; the next run carries on.',
    });
  // 255 is ssh's own.
  const isThere = exitCode !== null && exitCode !== 255;
  const advice = hint ?? (isThere ? notReady : undefined);
  throw new SalvageError('failed', `Cannot pull from "${target.host}": ${message}`, {
    ...(advice !== undefined && { hint: advice }),
  });
}

const notReady =
  'salvage must be installed there, or the key be tied to "salvage backup --repo stdio: PATH…": see the manual, "Storage over SSH".';
