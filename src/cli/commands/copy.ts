import { hash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import { copy, type CopyOptions, type CopyResult } from '../../operation/copy/copy.ts';
import type { Shard } from '../../operation/shard.ts';
import { listSnapshots } from '../../operation/open-repository.ts';
import { labelIn, newestLabelled } from '../../operation/reading/newest-labelled.ts';
import type { TrustedSigners } from '../../operation/reading/signed-snapshot.ts';
import type { Trouble } from '../../operation/verify/trouble.ts';
import type { RepositoryId } from '../../repository/ids.ts';
import { RateLimitedStorage } from '../../storage/limit/rate-limited-storage.ts';
import { isLocalUrl, openStorage } from '../../storage/open-storage.ts';
import type { Storage } from '../../storage/storage.ts';
import { formatSize } from '../../ui/size.ts';
import { cacheFolderOf } from '../cache-folder.ts';
import type { CliContext } from '../context.ts';
import { JsonEvents } from '../json-events.ts';
import { keepProcessSmall } from '../keep-process-small.ts';
import { addLockFlags, readLockPolicy, type LockFlags } from '../lock-options.ts';
import { parseShard } from '../parse-shard.ts';
import { parseSize } from '../parse-size.ts';
import { parseTime } from '../parse-time.ts';
import {
  addKeeperFlag,
  addSignerFlags,
  readTrustedKeeper,
  readTrustedSigners,
  type SignerFlags,
} from '../signer-options.ts';
import { gather, parseNumber } from '../option-values.ts';
import { count } from '../../ui/count.ts';

/** What its options are, for whoever starts it otherwise than by its command line. */
export interface CopyFlags extends SignerFlags, LockFlags {
  readonly snapshot?: readonly string[];
  readonly latest?: number;
  readonly since?: Date;
  readonly shard?: Shard;
  readonly repair?: boolean;
  readonly memory?: string;
  readonly limitUpload?: string;
  readonly sshCommand?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage copy /backup/web-1 /mnt/usb/web-1 --allowed-signers allowed_signers --signer web-1',
  'salvage copy --latest 7 /backup/web-1 sftp://keeper@vault.example.org/srv/web-1',
];

export function register(program: Command, context: CliContext): void {
  program
    .argument('<source>', 'the repository to copy from: a path or URL, as for --repo')
    .argument('<target>', 'where to: nothing yet, or an older copy of the same repository');
  addSignerFlags(program);
  addKeeperFlag(program);
  program
    .option(
      '--snapshot <snapshot>',
      'copy this snapshot and not all: an id, its beginning, a number, latest, latest:LABEL (repeatable)',
      gather,
    )
    .option('--latest <number>', 'copy the newest so many snapshots', (text) =>
      parseNumber(text, '--latest', 1, 99_999_999),
    )
    .option(
      '--since <time>',
      'copy snapshots made then or later: 2026-11-01, or 2026-11-01T12:00:00Z',
      parseTime,
    )
    .option(
      '--shard <i/n>',
      'carry the i-th of n shares of the packs, and commit nothing: a run without --shard ends the work',
      parseShard,
    )
    .option('--repair', 'also bring back what the target has lost of snapshots that it has')
    .option('--memory <size>', 'use so much memory: more objects are under way then (default: 256M)')
    .option('--limit-upload <rate>', 'store at most so much a second: 500K, 2M')
    .option(
      '--ssh-command <command>',
      'the ssh program with its arguments, for sftp:// and ssh:// (default: $SALVAGE_SSH, then ssh)',
    );
  addLockFlags(program);
  program
    .option('-n, --dry-run', 'say what would be copied, and store nothing')
    .option('--json', 'print what happens as it happens, one JSON object to a line')
    .action(async (source: string, target: string, options: CopyFlags) => {
      await runCopy(source, target, options, context);
    });
}

/** Returns what `--json` says in its summary. @throws as the command */
export async function runCopy(
  from: string,
  to: string,
  options: CopyFlags,
  context: CliContext,
): Promise<object> {
  const { terminal, signal, clock } = context;
  const memoryBytes = options.memory === undefined ? undefined : parseSize(options.memory, '--memory');
  const bytesPerSecond =
    options.limitUpload === undefined ? undefined : parseSize(options.limitUpload, '--limit-upload');
  if (placeOf(from) === placeOf(to))
    throw new SalvageError('usage', `Cannot copy "${from}" to itself: give two places`);
  const policy = readLockPolicy(options);
  const trusted = readTrustedSigners(options, context);
  const keeper = readTrustedKeeper(options, context);
  const source = await open(from, options, context);
  const target = await open(to, options, context);
  if (!trusted)
    terminal.warning(
      'Signatures are checked to fit, but nobody said whose to trust',
      'give --allowed-signers FILE and --signer HOST',
    );
  keepProcessSmall();
  const { latest, since, shard, repair = false, dryRun = false } = options;
  const snapshots = options.snapshot && (await resolveLabels(options.snapshot, source, trusted, signal));
  const events = new JsonEvents(options.json ?? false, context, 'objects');
  const progress = terminal.startProgress('copying');
  const plan: CopyOptions = {
    source,
    target: bytesPerSecond === undefined ? target : new RateLimitedStorage(target, bytesPerSecond, clock),
    trusted,
    keeper,
    selection: {
      ...(snapshots && { snapshots }),
      ...(latest !== undefined && { latest }),
      ...(since && { since }),
    },
    ...(shard && { shard }),
    ...(memoryBytes !== undefined && { memoryBytes }),
    repair,
    dryRun,
    ...(policy && {
      lock: { policy, path: (repository) => lockTimesPath(repository, target.description, context), clock },
    }),
  };
  let result: CopyResult;
  try {
    result = await copy(
      plan,
      {
        onTrouble(trouble) {
          terminal.warning(trouble.message);
          events.emit('trouble', trouble);
        },
        onNotice(message) {
          terminal.warning(message);
          events.emit('notice', { message });
        },
        onTotal(bytes, objects) {
          progress.setTotal(bytes, objects);
          events.emit('plan', { bytes, objects });
        },
        onProgress(bytes, objects) {
          progress.advance(bytes, objects);
          events.advance(bytes, objects);
        },
        onSnapshot(id) {
          terminal.detail(`Snapshot ${id} is there`);
          events.emit('snapshot', { snapshot: id });
        },
      },
      signal,
    );
  } finally {
    progress.end();
  }
  report(result, options, target.description, context);
  await events.end({ dryRun, ...result });
  if (result.troubles.length > 0) throw found(result.troubles);
  return { dryRun, ...result };
}

async function open(url: string, { sshCommand }: CopyFlags, context: CliContext): Promise<Storage> {
  const { env, clock, signal, terminal } = context;
  const notify = (message: string): void => terminal.warning(message);
  const isInteractive = context.stdin.isTerminal;
  const storage = await openStorage(url, { env, clock, sshCommand, isInteractive, signal, notify });
  context.atEnd(() => storage.close());
  return storage;
}

/** One file for each place, in the cache of the repository. */
function lockTimesPath(repository: RepositoryId, place: string, context: CliContext): string {
  const folder = cacheFolderOf(repository, context);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return join(folder, `locks-${hash('sha256', place).slice(0, 16)}`);
}

/** With ids for `latest:LABEL`. */
async function resolveLabels(
  selectors: readonly string[],
  source: Storage,
  trusted: TrustedSigners | undefined,
  signal: AbortSignal,
): Promise<string[]> {
  const resolved: string[] = [];
  for (const selector of selectors) {
    const label = labelIn(selector);
    if (label === undefined) resolved.push(selector);
    else {
      const { committed } = await listSnapshots(source, signal);
      resolved.push(await newestLabelled(source, committed, label, { trusted, tagsOf: undefined }, signal));
    }
  }
  return resolved;
}

function placeOf(url: string): string {
  return isLocalUrl(url) && !url.startsWith('file:') ? resolve(url) : url;
}

function report(result: CopyResult, options: CopyFlags, target: string, { terminal }: CliContext): void {
  const { snapshots, present, wantedObjects, wantedBytes, objects, bytes } = result;
  if (options.dryRun) {
    const share = options.shard
      ? ' in this share'
      : `: ${count(snapshots.length, 'snapshot')} more, ${present} there`;
    terminal.info(`Would copy ${count(wantedObjects, 'object')} (${formatSize(wantedBytes)})${share}`);
    return;
  }
  const carried = `${count(objects, 'object')} carried (${formatSize(bytes)})`;
  if (options.shard)
    terminal.info(`${carried}; a run without --shard makes the snapshots appear in "${target}"`);
  else terminal.info(`${count(snapshots.length, 'snapshot')} copied, ${present} there before; ${carried}`);
  const last = snapshots.at(-1);
  if (last) terminal.info(`The newest of them is ${last}`);
}

function found(troubles: readonly Trouble[]): SalvageError {
  const isPassing = troubles.every(({ kind }) => kind === 'unreadable' || kind === 'marked-object');
  return new SalvageError(
    isPassing ? 'failed' : 'damaged',
    `Cannot call the copy complete: ${count(troubles.length, 'thing')} found, each named above`,
    {
      hint: isPassing
        ? 'Copy again later: what is there is not carried again.'
        : 'What is whole was copied. What is damaged comes back from a host that backs up again, or with --repair from another copy.',
    },
  );
}
