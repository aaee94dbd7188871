import { Option, type Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import { EntryFinder, type Criteria } from '../../operation/browse/find-entries.ts';
import { describeSnapshots } from '../../operation/browse/describe-snapshots.ts';
import { readSignedSnapshot, snapshotTime } from '../../operation/reading/signed-snapshot.ts';
import type { FileType } from '../../posix/file-entry.ts';
import { sequenceOf, type SnapshotId } from '../../repository/ids.ts';
import type { CliContext } from '../context.ts';
import { entryJson, longLine } from '../entry-text.ts';
import type { IdentityFlag } from '../key-flags.ts';
import { parseSize } from '../parse-size.ts';
import { parseTime } from '../parse-time.ts';
import { addReadingFlags, RepositoryReader, type ReadingFlags } from '../reading-options.ts';
import { gather } from '../option-values.ts';

interface Options extends ReadingFlags {
  readonly path?: readonly string[];
  readonly type?: readonly string[];
  readonly larger?: string;
  readonly smaller?: string;
  readonly newer?: Date;
  readonly older?: Date;
  readonly snapshot?: readonly string[];
  readonly json?: boolean;
}

const types: Readonly<Record<string, FileType>> = {
  f: 'file',
  d: 'directory',
  l: 'symlink',
  h: 'hardlink',
  p: 'fifo',
  s: 'socket',
  c: 'character-device',
  b: 'block-device',
};

export const examples: readonly string[] = [
  `salvage find '*.conf' --repo /backup/web-1 -i ~/.ssh/id_ed25519`,
  `salvage find --path 'srv/**' --larger 100M --newer 2026-11-01 --repo /backup/web-1 -i ~/.ssh/id_ed25519`,
];

export function register(program: Command, context: CliContext): void {
  program.argument('[name...]', 'patterns for the last part of the path: *.conf');
  const identities = addReadingFlags(program);
  program
    .option('--path <pattern>', 'a pattern for the whole path; ** crosses folders (repeatable)', gather)
    .addOption(
      new Option(
        '--type <letter>',
        'f file, d folder, l symbolic link, h hard link, p, s, c, b (repeatable)',
      ).argParser(gather),
    )
    .option('--larger <size>', 'files of at least this size')
    .option('--smaller <size>', 'files of at most this size')
    .option('--newer <time>', 'last changed then or later: 2026-11-01, or 2026-11-01T12:00:00Z', parseTime)
    .option('--older <time>', 'last changed then or earlier', parseTime)
    .option('--snapshot <snapshot>', 'only in this snapshot (repeatable; default: all)', gather)
    .option('--json', 'print one JSON object for each state of each path')
    .action((names: string[], options: Options) => run(names, options, identities, context));
}

async function run(
  names: readonly string[],
  options: Options,
  flags: readonly IdentityFlag[],
  context: CliContext,
): Promise<void> {
  const { stdout, terminal, signal } = context;
  const finder = new EntryFinder(criteria(names, options));
  const reader = await RepositoryReader.open(options, flags, context);
  reader.requireIdentity();
  let troubles = 0;
  const search = async (id: SnapshotId): Promise<void> => {
    try {
      const signed = await readSignedSnapshot(reader.storage, id, reader.trusted, snapshotTime(id), signal);
      await finder.search(await reader.openSigned(signed), signal);
    } catch (error) {
      if (!(error instanceof SalvageError) || !['damaged', 'bad-signature'].includes(error.code)) throw error;
      troubles++;
      terminal.warning(error.message);
    }
  };
  if (options.snapshot) {
    for (const selector of options.snapshot) await search((await reader.signed(selector)).id);
  } else {
    for await (const { id, trouble, removed } of describeSnapshots(
      reader.storage,
      reader.trusted,
      undefined,
      undefined,
      signal,
    )) {
      // Named with --snapshot it is searched.
      if (removed) continue;
      if (!trouble) await search(id);
      else {
        troubles++;
        terminal.warning(trouble.message);
      }
    }
    if (!reader.trusted) terminal.warning('The signatures were not checked: nobody said whose to trust');
  }
  for (const { entry, snapshots } of finder.results())
    await stdout.write(
      options.json
        ? `${JSON.stringify({ ...entryJson(entry), snapshots })}\n`
        : `${longLine(entry)}  [${numbers(snapshots)}]\n`,
    );
  if (troubles > 0)
    throw new SalvageError('damaged', `Cannot look through ${troubles} of the snapshots, each named above`);
}

function criteria(names: readonly string[], options: Options): Criteria {
  const { path, type, larger, smaller, newer, older } = options;
  return {
    ...(names.length > 0 && { names }),
    ...(path && { paths: path }),
    ...(type && { types: type.map(parseType) }),
    ...(larger !== undefined && { smallestBytes: parseSize(larger, '--larger') }),
    ...(smaller !== undefined && { largestBytes: parseSize(smaller, '--smaller') }),
    ...(newer && { notBefore: newer }),
    ...(older && { notAfter: older }),
  };
}

/** 3, 5-9. */
function numbers(snapshots: readonly SnapshotId[]): string {
  const ranges: [number, number][] = [];
  for (const number of snapshots.map(sequenceOf)) {
    const last = ranges.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(', ');
}

function parseType(letter: string): FileType {
  const type = Object.hasOwn(types, letter) ? types[letter] : undefined;
  if (type) return type;
  throw new SalvageError(
    'usage',
    `Cannot use --type ${letter}: give one of ${Object.keys(types).join(', ')}`,
  );
}
