import type { Command } from 'commander';
import { describeSnapshots, type SnapshotDescription } from '../../operation/browse/describe-snapshots.ts';
import { sequenceOf } from '../../repository/ids.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { formatSize } from '../../ui/size.ts';
import { formatTable, type Column } from '../../ui/table.ts';
import type { CliContext } from '../context.ts';
import type { IdentityFlag } from '../key-flags.ts';
import { readTrustedKeeper } from '../signer-options.ts';
import { addReadingFlags, RepositoryReader, type ReadingFlags } from '../reading-options.ts';

interface Options extends ReadingFlags {
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage snapshots --repo /backup/web-1',
  'salvage snapshots --repo /backup/web-1 -i ~/.ssh/id_ed25519 --allowed-signers allowed_signers --signer web-1',
];

export function register(program: Command, context: CliContext): void {
  const identities = addReadingFlags(program);
  program
    .option('--json', 'print one JSON object for each snapshot')
    .action((options: Options) => run(options, identities, context));
}

async function run(options: Options, flags: readonly IdentityFlag[], context: CliContext): Promise<void> {
  const { storage, trusted, objects, identities } = await RepositoryReader.open(options, flags, context);
  const opened = identities.length > 0 ? objects : undefined;
  const keeper = readTrustedKeeper(options, context);
  const rows: string[][] = [];
  let troubles = 0;
  let removed = 0;
  for await (const snapshot of describeSnapshots(storage, trusted, opened, keeper, context.signal)) {
    if (snapshot.trouble) {
      troubles++;
      context.terminal.warning(snapshot.trouble.message);
    }
    if (snapshot.removed) removed++;
    if (options.json) await context.stdout.write(`${JSON.stringify(asJson(snapshot))}\n`);
    else rows.push(asRow(snapshot, opened !== undefined));
  }
  if (!options.json)
    await context.stdout.write(
      rows.length === 0
        ? 'No snapshots yet.\n'
        : formatTable(columns(opened !== undefined), rows, context.stdout.columns()),
    );
  if (removed > 0)
    context.terminal.warning(
      `${removed} of the snapshots were removed, by a keeper or by an attacker; older versions of their objects are left`,
      'restore them by their whole ids, for as long as storage keeps the versions',
    );
  if (troubles > 0)
    throw new SalvageError('damaged', `Cannot trust ${troubles} of the snapshots, each named above`, {
      hint: 'salvage verify tells more.',
    });
}

function columns(opened: boolean): Column[] {
  const known: Column[] = [
    // The id begins with both.
    { title: 'NUMBER', align: 'right', isSpare: true },
    { title: 'ID' },
    { title: 'TIME', isSpare: true },
    { title: 'SIZE', align: 'right' },
    { title: 'STORED', align: 'right' },
    { title: 'SIGNATURE' },
  ];
  return opened ? [...known, { title: 'HOST' }, { title: 'PATHS' }, { title: 'TAGS' }] : known;
}

function asRow({ id, signature, facts, root, removed }: SnapshotDescription, opened: boolean): string[] {
  const row = [
    String(sequenceOf(id)),
    id,
    facts ? facts.time.replace('T', ' ').replace(/(?:\.\d+)?Z$/, ' UTC') : '-',
    facts ? formatSize(facts.sizeBytes) : '-',
    facts ? formatSize(facts.storedBytes) : '-',
    signature === undefined
      ? 'BAD'
      : signature.state === 'trusted'
        ? `good: ${signature.principal}`
        : 'not checked',
  ];
  if (removed) row[5] += ', REMOVED';
  return opened ? [...row, root?.host ?? '-', root?.paths.join(' ') ?? '-', root?.tags.join(' ') ?? ''] : row;
}

function asJson({ id, signature, facts, root, trouble, removed }: SnapshotDescription): object {
  return {
    id,
    sequence: sequenceOf(id),
    time: facts?.time ?? null,
    entries: facts?.entries ?? null,
    sizeBytes: facts?.sizeBytes ?? null,
    storedBytes: facts?.storedBytes ?? null,
    labels: facts?.labels ?? {},
    signature: signature ?? { state: 'bad' },
    ...(root && { host: root.host, paths: root.paths, tags: root.tags, statistics: root.statistics }),
    ...(removed && { removed: removed.at?.toISOString() ?? true }),
    ...(trouble && { trouble: trouble.message }),
  };
}
