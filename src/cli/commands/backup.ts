import { readFileSync } from 'node:fs';
import { availableParallelism, setPriority, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import { loadSigner } from '../../keys/load-signer.ts';
import { defaultMemoryBytes } from '../../operation/worker/memory-budget.ts';
import { backup, type BackupResult, type BackupSource } from '../../operation/backup/backup.ts';
import { readRepositoryJson } from '../../operation/open-repository.ts';
import type { HostConfiguration } from '../../repository/host-configuration.ts';
import type { Signer } from '../../ssh/signer.ts';
import { commandStream } from '../../source/command-stream.ts';
import { planRoots } from '../../source/source-roots.ts';
import { RateLimitedStorage } from '../../storage/limit/rate-limited-storage.ts';
import { formatDuration } from '../../ui/duration.ts';
import { escapeForTerminal } from '../../ui/escape.ts';
import { formatSize } from '../../ui/size.ts';
import { agePlugins } from '../age-plugins.ts';
import { cacheFolderOf } from '../cache-folder.ts';
import type { CliContext } from '../context.ts';
import { addExcludeFlags, readExcludes, type ExcludeFlags } from '../exclude-flags.ts';
import { keepProcessSmall } from '../keep-process-small.ts';
import { describeProblem } from '../describe-problem.ts';
import { keeperUrl, openHostStorage } from '../host-storage.ts';
import { openInput, readPieces } from '../input-file.ts';
import { JsonEvents, pathJson } from '../json-events.ts';
import { addPassphraseFlags, passphraseRequester, type PassphraseFlags } from '../key-flags.ts';
import { parseSize } from '../parse-size.ts';
import { addRepositoryFlag, hostConfigurations, type RepositoryFlag } from '../repository-options.ts';
import { showTotals } from '../show-totals.ts';
import { systemError } from '../system-error.ts';
import { gather, parseNumber } from '../option-values.ts';
import { count } from '../../ui/count.ts';

/** What its options are, for whoever starts it otherwise than by its command line. */
export interface BackupFlags extends ExcludeFlags, RepositoryFlag, PassphraseFlags {
  readonly stdin?: string;
  readonly command?: string;
  readonly as?: string;
  readonly tag?: readonly string[];
  readonly label?: readonly string[];
  readonly excludeIfPresent?: readonly string[];
  readonly filesFrom?: readonly string[];
  readonly force?: boolean;
  readonly paranoid?: boolean;
  readonly memory?: string;
  readonly threads?: number;
  readonly limitUpload?: string;
  readonly nice?: number;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage backup --repo /backup/web-1 /etc /srv',
  `salvage backup --repo /backup/web-1 --command 'pg_dump app' --as app.sql`,
];

/** More threads than eight find nothing to do. */
const defaultThreads = Math.min(8, availableParallelism());

export function register(program: Command, context: CliContext): void {
  program.argument('[path...]', 'what to back up');
  addRepositoryFlag(program);
  program
    .option(
      '--files-from <file>',
      'also back up the paths in FILE, one to a line; "-" is standard input (repeatable)',
      gather,
    )
    .option('--stdin <name>', 'back up standard input, as the file NAME')
    .option(
      '--command <line>',
      'back up what this command line of sh prints; if it fails there is no snapshot',
    )
    .option('--as <name>', 'with --command: as the file NAME')
    .option('--tag <text>', 'a note that only restorers can read (repeatable)', gather)
    .option(
      '--label <name=value>',
      'a note that everybody can read who can read the repository (repeatable)',
      gather,
    );
  addExcludeFlags(program);
  program
    .option(
      '--exclude-if-present <name>',
      'keep only that file of directories that hold a file NAME (repeatable)',
      gather,
    )
    .option('--force', 'read everything, also what has not changed since the last backup')
    .option('--paranoid', 'decode all that is compressed again before it is stored, to find bad memory')
    .option(
      '--memory <size>',
      'use threads and pack sizes that fit into so much memory (default: 250M, and on large machines a 64th of theirs, up to 1G)',
    )
    .addOption(
      new Option('--threads <number>', 'read and compress on so many threads')
        .argParser((text) => parseNumber(text, '--threads', 1, 64))
        .default(defaultThreads),
    )
    .option('--limit-upload <rate>', 'store at most so much a second: 500K, 2M')
    .addOption(
      new Option('--nice <number>', 'run at this priority: 10 leaves others the right of way').argParser(
        (text) => parseNumber(text, '--nice', -20, 19),
      ),
    )
    .option('-n, --dry-run', 'say what would be read, and store nothing')
    .option('--json', 'print events as they happen and then the summary, one JSON object to a line');
  addPassphraseFlags(program);
  program.action(async (paths: string[], options: BackupFlags) => {
    await runBackup(paths, options, context);
  });
}

/** Returns what `--json` says in its summary. @throws as the command */
export async function runBackup(
  paths: readonly string[],
  options: BackupFlags,
  context: CliContext,
): Promise<object> {
  const { terminal, clock, signal } = context;
  const { threads = defaultThreads } = options;
  const labels = parseLabels(options.label ?? []);
  const memoryBytes =
    options.memory === undefined ? defaultMemoryBytes(totalmem()) : parseSize(options.memory, '--memory');
  const bytesPerSecond =
    options.limitUpload === undefined ? undefined : parseSize(options.limitUpload, '--limit-upload');
  const source = planSource(paths, options, context);
  if (options.nice !== undefined) setPriority(options.nice);
  if (options.repo === keeperUrl && options.json)
    throw new SalvageError('usage', 'Cannot print JSON: standard output is the keeper that pulls');
  const { storage, url } = await openHostStorage(options, context, { mayWait: true });
  const repository = readRepositoryJson(storage, signal);
  repository.catch(() => {});
  const configurations = hostConfigurations(context);
  const requireConfiguration = async (): Promise<HostConfiguration> =>
    configurations.require((await repository).id, storage.description);
  // Far away it takes a second to find out which repository is there: a run that can begin without knows which it should be.
  const expected = source.kind === 'paths' && !options.dryRun ? configurations.findByUrl(url) : undefined;
  const host = expected ?? (await requireConfiguration());
  const loadSignerOf = async ({ signingKey }: HostConfiguration): Promise<Signer> =>
    await loadSigner(signingKey, {
      requestPassphrase: passphraseRequester(options, context),
      agentSocket: context.env['SSH_AUTH_SOCK'],
      signal,
    });
  const signer = await loadSignerOf(host);
  keepProcessSmall();
  const progress = terminal.startProgress('backing up');
  if (source.kind === 'paths') showTotals(progress, source.walk);
  const events = new JsonEvents(options.json ?? false, context);
  const backUpAs = async (host: HostConfiguration, signer: Signer): Promise<BackupResult> =>
    await backup({
      storage:
        bytesPerSecond === undefined ? storage : new RateLimitedStorage(storage, bytesPerSecond, clock),
      repository,
      host,
      signer,
      plugins: agePlugins(passphraseRequester({}, context), context),
      source,
      folder: cacheFolderOf(host.repositoryId, context),
      tags: options.tag ?? [],
      labels,
      force: options.force ?? false,
      paranoid: options.paranoid ?? false,
      memoryBytes,
      threads,
      dryRun: options.dryRun ?? false,
      observer: {
        onProblem(problem) {
          terminal.warning(describeProblem(problem));
          const { path, what, message } = problem;
          events.emit('problem', { ...pathJson(path), what, message });
        },
        onProgress(bytes, files) {
          progress.advance(bytes, files);
          events.advance(bytes, files);
        },
        onNotice(message) {
          terminal.warning(message);
          events.emit('notice', { message });
        },
      },
      clock,
      signal,
    });
  let result: BackupResult;
  try {
    try {
      result = await backUpAs(host, signer);
    } catch (error) {
      const found = expected && (await repository.catch(() => undefined));
      if (!found || found.id === expected?.repositoryId) throw error;
      const actual = await requireConfiguration();
      result = await backUpAs(actual, await loadSignerOf(actual));
    }
  } finally {
    progress.end();
  }
  if (result.counts.problems > 0) context.incomplete();
  report(result, context);
  const { snapshot, counts, durationMs, ...numbers } = result;
  const summary = {
    snapshot: snapshot ?? null,
    ...counts,
    ...numbers,
    durationMs: Math.round(durationMs),
  };
  await events.end(summary);
  return summary;
}

function planSource(paths: readonly string[], options: BackupFlags, context: CliContext): BackupSource {
  const { stdin, command, as, filesFrom = [] } = options;
  const hasPaths = paths.length + filesFrom.length > 0;
  if (Number(hasPaths) + Number(stdin !== undefined) + Number(command !== undefined) > 1)
    throw new SalvageError(
      'usage',
      'Cannot back up different kinds of sources at once: give paths, --stdin or --command',
    );
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  if (stdin !== undefined) {
    checkStreamName(stdin, '--stdin');
    const input = openInput('-', context);
    return { kind: 'stream', stream: { name: stdin, open: (signal) => readPieces(input, signal), ...owner } };
  }
  if (command !== undefined) {
    if (as === undefined)
      throw new SalvageError('usage', 'Cannot back up what a command prints: it has no name', {
        hint: 'Give it one with --as NAME.',
      });
    checkStreamName(as, '--as');
    return {
      kind: 'stream',
      stream: { name: as, open: (signal) => commandStream(command, signal), ...owner },
    };
  }
  if (as !== undefined) throw new SalvageError('usage', 'Cannot use --as without --command');
  const listed = filesFrom.flatMap((file) => readPathList(file, context));
  const all = [...paths, ...listed];
  return {
    kind: 'paths',
    paths: all.map((path) => resolve(path.toString())),
    walk: {
      roots: planRoots(all),
      parents: true,
      ...readExcludes(options),
      excludeIfPresent: options.excludeIfPresent ?? [],
    },
  };
}

function checkStreamName(name: string, flag: string): void {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name))
    throw new SalvageError('usage', `Cannot use ${flag} "${name}": it is not the name of a file`, {
      hint: 'Give a plain name, such as app.sql.',
    });
}

/** The lines of a file as bytes: names need not be UTF-8. */
function readPathList(file: string, context: CliContext): Uint8Array[] {
  if (file === '-') context.stdin.claim('the list of paths');
  let bytes: Buffer;
  try {
    bytes = readFileSync(file === '-' ? context.stdin.fd : file);
  } catch (error) {
    throw systemError(`read the list of paths "${file}"`, error);
  }
  return bytes
    .toString('latin1')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Buffer.from(line, 'latin1'));
}

function parseLabels(texts: readonly string[]): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const text of texts) {
    const [, name, value] = /^([^=]{1,256})=(.{0,256})$/s.exec(text) ?? [];
    if (name === undefined || value === undefined)
      throw new SalvageError('usage', `Cannot use --label "${text.slice(0, 100)}": it is not NAME=VALUE`);
    labels[name] = value;
  }
  return labels;
}

function report(
  { snapshot, counts, storedBytes, healing, durationMs }: BackupResult,
  { terminal }: CliContext,
): void {
  const { filesNew, filesChanged, filesUnchanged, contentBytes, bytesRead, problems } = counts;
  if (problems > 0) terminal.warning(`${count(problems, 'thing')} could not be read as they were`);
  const files = `${filesNew} new, ${filesChanged} changed, ${filesUnchanged} unchanged files (${formatSize(contentBytes)})`;
  if (snapshot === undefined) terminal.info(`Would read ${formatSize(bytesRead)}: ${files}`);
  else {
    terminal.info(
      `${files}: read ${formatSize(bytesRead)}, stored ${formatSize(storedBytes)}, in ${formatDuration(durationMs)}`,
    );
    if (healing) {
      const { packs, bytesHealed, bytesLost, packsDeferred } = healing;
      terminal.info(
        `Healed what an auditor asked for: ${count(packs, 'pack')}, ${formatSize(bytesHealed)} of their content stored anew`,
      );
      if (bytesLost > 0)
        terminal.warning(
          `${formatSize(bytesLost)} can no longer be healed: this host does not have it any more, and only older snapshots need it`,
        );
      if (packsDeferred > 0)
        terminal.info(
          `${packsDeferred} more packs are healed by the next backups, a quarter of all at a time`,
        );
    }
    terminal.info(`Snapshot ${escapeForTerminal(snapshot)}`);
  }
}
