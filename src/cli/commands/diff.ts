import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import { comparableEntries, diffTrees, type Change } from '../../operation/browse/diff-trees.ts';
import { liveEntries } from '../../operation/browse/live-entries.ts';
import { storedPath } from '../../operation/restore/selection.ts';
import { escapeForTerminal } from '../../ui/escape.ts';
import type { CliContext } from '../context.ts';
import { describeProblem } from '../describe-problem.ts';
import { entryJson } from '../entry-text.ts';
import type { IdentityFlag } from '../key-flags.ts';
import { addReadingFlags, RepositoryReader, type ReadingFlags } from '../reading-options.ts';

interface Options extends ReadingFlags {
  readonly live?: boolean;
  readonly path?: string;
  readonly json?: boolean;
}

const marks: Readonly<Record<Change, string>> = {
  added: '+',
  removed: '-',
  type: 'T',
  content: 'M',
  metadata: 'm',
};

export const examples: readonly string[] = [
  'salvage diff 11 12 --repo /backup/web-1 -i ~/.ssh/id_ed25519',
  'salvage diff latest --live --repo /backup/web-1 -i ~/.ssh/id_ed25519',
];

export function register(program: Command, context: CliContext): void {
  program
    .argument('<before>', 'a snapshot: "latest", "latest:LABEL", a number, an id or the beginning of one')
    .argument('[after]', 'another snapshot');
  const identities = addReadingFlags(program);
  program
    .option(
      '--live',
      'compare with what is on this machine now, by type, size, time, owner, mode and attributes',
    )
    .option('--path <path>', 'only this path and what is below it')
    .option('--json', 'print one JSON object for each difference')
    .addHelpText(
      'after',
      '\n+ added, - removed, M content changed, m only owner, mode, time or attributes, T another type',
    )
    .action((before: string, after: string | undefined, options: Options) =>
      run(before, after, options, identities, context),
    );
}

async function run(
  before: string,
  after: string | undefined,
  options: Options,
  flags: readonly IdentityFlag[],
  context: CliContext,
): Promise<void> {
  const { signal, stdout, terminal } = context;
  if ((after === undefined) !== (options.live === true))
    throw new SalvageError('usage', 'Cannot compare: give either a second snapshot or --live');
  const path = options.path === undefined ? undefined : storedPath(options.path);
  if (path && options.live) throw new SalvageError('usage', 'Cannot compare: --path does not go with --live');
  const reader = await RepositoryReader.open(options, flags, context);
  const old = await reader.open(before);
  const other =
    after === undefined
      ? liveEntries(
          old,
          (problem) => {
            terminal.warning(describeProblem(problem));
            context.incomplete();
          },
          signal,
        )
      : comparableEntries(await reader.open(after), path, signal);
  for await (const { path: name, change, before: from, after: to } of diffTrees(
    comparableEntries(old, path, signal),
    other,
  ))
    await stdout.write(
      options.json
        ? `${JSON.stringify({ change, before: from ? entryJson(from) : null, after: to ? entryJson(to) : null })}\n`
        : `${marks[change]} ${escapeForTerminal(name)}${(to ?? from)!.type === 'directory' ? '/' : ''}\n`,
    );
}
