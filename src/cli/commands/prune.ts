import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { Shard } from '../../operation/shard.ts';
import { prune, type ObjectCount, type PruneResult } from '../../operation/prune/prune.ts';
import { formatSize } from '../../ui/size.ts';
import type { CliContext } from '../context.ts';
import { addKeeperFlags, openKeeperSession, openSharedSession, type KeeperFlags } from '../keeper-options.ts';
import { parseDuration } from '../parse-duration.ts';
import { parseShard } from '../parse-shard.ts';
import { openRepositoryStorage } from '../repository-options.ts';
import { count } from '../../ui/count.ts';

/** What its options are, for whoever starts it otherwise than by its command line. */
export interface PruneFlags extends KeeperFlags {
  readonly grace: string;
  readonly acceptMissing?: boolean;
  readonly rewrapped?: boolean;
  readonly recordOnly?: boolean;
  readonly shard?: Shard;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage prune --repo /backup/web-1',
  'salvage prune --repo /backup/web-1 --grace 7d --dry-run',
];

export function register(program: Command, context: CliContext): void {
  addKeeperFlags(program);
  program
    .option('--grace <duration>', 'remove what was marked at least so long ago: 36h, 7d', '24h')
    .option(
      '--accept-missing',
      'go on although snapshots are missing that no record accounts for, and remove what only they needed',
    )
    .option(
      '--rewrapped',
      'remove also packs and index objects that "salvage recipients rewrap" has replaced; the host stores anew what it still needs of them',
    )
    .option('--record-only', 'sign what is to go, and leave its removal to runs with --shard')
    .option(
      '--shard <i/n>',
      'remove the i-th of n shares of what records say is to go, and sign nothing: a run without --shard ends the work',
      parseShard,
    )
    .option('-n, --dry-run', 'say what would be marked and removed')
    .option('--json', 'print the result as one JSON object')
    .action(async (options: PruneFlags) => {
      await runPrune(options, context);
    });
}

/** Returns what `--json` says. @throws as the command */
export async function runPrune(options: PruneFlags, context: CliContext): Promise<object> {
  const { terminal, signal, clock } = context;
  const { acceptMissing = false, rewrapped = false, recordOnly = false, shard, dryRun = false } = options;
  const graceMs = parseDuration(options.grace, '--grace');
  if (recordOnly && shard)
    throw new SalvageError(
      'usage',
      'Cannot prune: --record-only signs, and --shard removes: give one of them',
    );
  const { storage } = await openRepositoryStorage(options, context);
  const openSession = shard ? openSharedSession : openKeeperSession;
  using session = await openSession(storage, options, context);
  const progress = terminal.startProgress('removing');
  let result: PruneResult;
  try {
    result = await prune({
      storage,
      session,
      graceMs,
      acceptMissing,
      rewrapped,
      recordOnly,
      ...(shard && { shard }),
      dryRun,
      now: clock.now(),
      signal,
      onRemoved: (bytes) => progress.advance(bytes, 1),
    });
  } finally {
    progress.end();
  }
  const summary = { dryRun, ...result };
  if (options.json) await context.stdout.write(`${JSON.stringify(summary)}\n`);
  else report(result, options, context);
  return summary;
}

function report(result: PruneResult, { shard, dryRun = false }: PruneFlags, { terminal }: CliContext): void {
  const { removed, left, released, marked, waiting, removableFrom, kept } = result;
  const did = (done: string, planned: string): string => (dryRun ? `Would ${planned}` : done);
  if (removed.objects > 0) terminal.info(`${did('Removed', 'remove')} ${describe(removed)}`);
  if (left.objects > 0)
    terminal.info(`${describe(left)} are to be removed`, 'run prune with --shard 1/N to N/N for that');
  if (released > 0) terminal.info(`${did('Released', 'release')} ${released} that are needed again`);
  if (marked.objects > 0) terminal.info(`${did('Marked', 'mark')} ${describe(marked)} for removal`);
  if (waiting.objects > 0) terminal.info(`${describe(waiting)} marked before: the grace time is not over`);
  if (removed.objects + left.objects + marked.objects + waiting.objects === 0)
    terminal.info(shard ? 'There is nothing to remove in this share' : 'There is nothing to remove');
  if (shard) return;
  const hint = removableFrom && `run prune again after ${removableFrom.toISOString()}`;
  terminal.info(`${describe(kept)} in all are in the repository`, hint);
}

function describe({ objects, bytes }: ObjectCount): string {
  return `${count(objects, 'object')} (${formatSize(bytes)})`;
}
