import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { Overwrite } from '../../posix/target-directory.ts';
import { deleteOthers } from '../../operation/restore/delete-others.ts';
import { previewRestore, type PreviewSummary } from '../../operation/restore/preview.ts';
import type { LostEntry, RestoreSummary } from '../../operation/restore/restore-report.ts';
import { restore } from '../../operation/restore/restore.ts';
import { checkPathsExist, Selection } from '../../operation/restore/selection.ts';
import { ExcludeRules } from '../../source/exclude-rules.ts';
import { formatDuration } from '../../ui/duration.ts';
import { escapeForTerminal } from '../../ui/escape.ts';
import { formatSize } from '../../ui/size.ts';
import type { CliContext } from '../context.ts';
import { keepProcessSmall } from '../keep-process-small.ts';
import { JsonEvents, pathJson } from '../json-events.ts';
import type { IdentityFlag } from '../key-flags.ts';
import { parseSize } from '../parse-size.ts';
import { addReadingFlags, RepositoryReader, type ReadingFlags } from '../reading-options.ts';
import { gather, parseNumber } from '../option-values.ts';
import { count } from '../../ui/count.ts';

interface Options extends ReadingFlags {
  readonly target: string;
  readonly include?: readonly string[];
  readonly includeFrom?: readonly string[];
  readonly exclude?: readonly string[];
  readonly excludeFrom?: readonly string[];
  readonly stripComponents: number;
  readonly overwrite: Overwrite;
  readonly delete?: boolean;
  readonly verify?: boolean;
  readonly numericIds?: boolean;
  readonly allowDevices?: boolean;
  readonly memory?: string;
  readonly threads?: number;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage restore latest --repo /backup/web-1 -i ~/.ssh/id_ed25519 --target /tmp/restored',
  'salvage restore 12 srv/www --repo /backup/web-1 -i ~/.ssh/id_ed25519 --target /tmp/restored --verify',
];

export function register(program: Command, context: CliContext): void {
  program
    .argument(
      '<snapshot>',
      '"latest", "latest:LABEL", a number, an id or the beginning of one, as "salvage snapshots" shows them',
    )
    .argument('[path...]', 'only these paths, as "salvage ls" shows them, and what is below them');
  const identities = addReadingFlags(program);
  program
    .requiredOption('-t, --target <folder>', 'restore below FOLDER, which is made if it is not there')
    .option('--include <pattern>', 'only what PATTERN matches, as in gitignore(5) (repeatable)', gather)
    .option('--include-from <file>', 'only what the patterns in FILE match (repeatable)', gather)
    .option('--exclude <pattern>', 'not what PATTERN matches (repeatable)', gather)
    .option('--exclude-from <file>', 'not what the patterns in FILE match (repeatable)', gather)
    .addOption(
      new Option('--strip-components <number>', 'leave out so many parts at the front of every path')
        .argParser((text) => parseNumber(text, '--strip-components', 0, 1000))
        .default(0),
    )
    .addOption(
      new Option('--overwrite <policy>', 'what to do with a file that is there already')
        .choices(['never', 'if-newer', 'if-different', 'always'])
        .default('if-different'),
    )
    .option('--delete', 'delete what is in the target and not in the snapshot')
    .option('--verify', 'read again what was restored, and compare')
    .option('--numeric-ids', 'owners by number, whatever their names are here')
    .option('--allow-devices', 'make device nodes too')
    .option('--memory <size>', 'use as many threads as fit into so much memory (default: 250M)')
    .addOption(
      new Option('--threads <number>', 'restore on so many threads').argParser((text) =>
        parseNumber(text, '--threads', 1, 64),
      ),
    )
    .option('-n, --dry-run', 'say what would be restored and deleted, and write nothing')
    .option('--json', 'print events as they happen and then the summary, one JSON object to a line')
    .action((snapshot: string, paths: string[], options: Options) =>
      run(snapshot, paths, options, identities, context),
    );
}

async function run(
  selector: string,
  paths: readonly string[],
  options: Options,
  flags: readonly IdentityFlag[],
  context: CliContext,
): Promise<void> {
  const { terminal, signal, clock } = context;
  const started = clock.monotonicMs();
  const patterns = (list: readonly string[] = [], files: readonly string[] = []): string[] => [
    ...list,
    ...files.flatMap((file) => ExcludeRules.readPatterns(file)),
  ];
  const selection = new Selection({
    paths,
    include: patterns(options.include, options.includeFrom),
    exclude: patterns(options.exclude, options.excludeFrom),
    stripComponents: options.stripComponents,
  });
  const memoryBytes = options.memory === undefined ? undefined : parseSize(options.memory, '--memory');
  const reader = await RepositoryReader.open(options, flags, context);
  const snapshot = await reader.open(selector, { whole: paths.length === 0 });
  await checkPathsExist(snapshot, selection, signal);
  const target = resolve(options.target);
  const { overwrite } = options;
  const name = (path: Uint8Array): string => `"${escapeForTerminal(path)}"`;
  const events = new JsonEvents(options.json ?? false, context);
  const sayDelete = async (path: Buffer): Promise<void> => {
    events.emit('delete', pathJson(path));
    if (options.json) await events.drain();
    else if (options.dryRun) await context.stdout.write(`delete ${escapeForTerminal(path)}\n`);
    else terminal.detail(`deleted ${name(path)}`);
  };

  if (options.dryRun) {
    const summary = await previewRestore(
      snapshot,
      { target, selection, overwrite },
      async (path, what) => {
        events.emit(what, pathJson(path));
        if (options.json) await events.drain();
        else if (what !== 'keep') await context.stdout.write(`${what} ${escapeForTerminal(path)}\n`);
      },
      signal,
    );
    const deleted = options.delete
      ? await deleteOthers(snapshot, { target, selection, dryRun: true }, sayDelete, signal)
      : 0;
    await events.end({ snapshot: snapshot.signed.id, dryRun: true, ...summary, deleted });
    return reportPreview(summary, deleted, context);
  }

  keepProcessSmall();
  const progress = terminal.startProgress('restoring');
  const lost: LostEntry[] = [];
  let summary: RestoreSummary;
  let deleted = 0;
  try {
    summary = await restore(
      reader.storage,
      snapshot,
      reader.objects,
      {
        target,
        selection,
        overwrite,
        numericIds: options.numericIds ?? false,
        allowDevices: options.allowDevices ?? false,
        check: options.verify ?? false,
        ...(memoryBytes !== undefined && { memoryBytes }),
        ...(options.threads !== undefined && { threads: options.threads }),
      },
      {
        onLost(entry) {
          lost.push(entry);
          terminal.warning(entry.message);
          events.emit('lost', { ...pathJson(entry.path), message: entry.message });
        },
        onProblem({ path, what, message }) {
          terminal.warning(`Cannot set the ${what} of ${name(path)}: ${message}`);
          events.emit('problem', { ...pathJson(path), what, message });
        },
        onDamage(message) {
          terminal.warning(message);
          events.emit('damage', { message });
        },
        onProgress(bytes, files) {
          progress.advance(bytes, files);
          events.advance(bytes, files);
        },
      },
      signal,
    );
    if (options.delete && lost.length === 0)
      deleted = await deleteOthers(snapshot, { target, selection, dryRun: false }, sayDelete, signal);
    else if (options.delete) terminal.warning('Nothing was deleted, since not everything could be restored');
  } finally {
    progress.end();
  }
  const durationMs = Math.round(clock.monotonicMs() - started);
  await events.end({ snapshot: snapshot.signed.id, ...summary, deleted, durationMs });
  report(snapshot.signed.id, summary, deleted, durationMs, context);
  finish(summary, lost);
}

function report(
  snapshot: string,
  { files, directories, others, bytes, kept, checked }: RestoreSummary,
  deleted: number,
  durationMs: number,
  { terminal }: CliContext,
): void {
  const parts = [
    `Restored ${count(files, 'file')} (${formatSize(bytes)}), ${count(directories, 'folder')} and ${count(others, 'other')} of snapshot ${snapshot}`,
    `in ${formatDuration(durationMs)}`,
    ...(kept > 0 ? [`; ${kept} were right already or are kept`] : []),
    ...(checked > 0 ? [`; ${checked} files read again and found right`] : []),
    ...(deleted > 0 ? [`; ${deleted} others deleted`] : []),
  ];
  terminal.info(parts.join(' ').replaceAll(' ;', ';'));
}

function reportPreview(
  { made, replaced, kept, bytes }: PreviewSummary,
  deleted: number,
  { terminal }: CliContext,
): void {
  terminal.info(
    `Would make ${made}, replace ${replaced}, keep ${kept} and delete ${deleted}; ${formatSize(bytes)} to write`,
  );
}

function finish({ lost, problems, damagedPacks }: RestoreSummary, entries: readonly LostEntry[]): void {
  if (lost > 0) {
    const isDamage = entries.some(({ code }) => code === 'damaged');
    throw new SalvageError(
      isDamage ? 'damaged' : 'failed',
      `Cannot restore everything: ${lost} ${lost === 1 ? 'entry is' : 'entries are'} lost, each named above`,
      {
        hint: isDamage
          ? 'An older snapshot may still have them: "salvage find" shows which ones do.'
          : 'Run the same command again when the cause is mended: it goes on where it was.',
      },
    );
  }
  if (damagedPacks > 0)
    throw new SalvageError(
      'damaged',
      'Restored everything, but parts of the repository are damaged, as named above',
      {
        hint: 'salvage verify --read-data tells what else is.',
      },
    );
  if (problems > 0)
    throw new SalvageError(
      'failed',
      `Restored everything, but ${problems} attributes could not be set, as named above`,
    );
}
