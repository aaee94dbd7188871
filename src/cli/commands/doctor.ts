import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import {
  checkStorage,
  type StorageFinding,
  type StorageReport,
} from '../../operation/doctor/check-storage.ts';
import { keyPaths } from '../../keys/key-paths.ts';
import { checkKeys, type ConfiguredKey } from '../../operation/doctor/check-keys.ts';
import { DrilledKeys } from '../../operation/drill/drilled-keys.ts';
import { formatTable } from '../../ui/table.ts';
import type { CliContext } from '../context.ts';
import { addIdentityFlags, type IdentityFlag } from '../key-flags.ts';
import {
  addRepositoryFlag,
  hostConfigurations,
  openRepositoryStorage,
  type RepositoryFlag,
} from '../repository-options.ts';
import { stateFolder } from '../state-folder.ts';

interface Options extends RepositoryFlag {
  readonly keys?: boolean;
  readonly thorough?: boolean;
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage doctor',
  'salvage doctor --repo rclone:azure:backups/web-1',
  'salvage doctor --repo sftp://web-1@keeper/ --thorough',
];

export function register(program: Command, context: CliContext): void {
  addRepositoryFlag(program);
  const identities = addIdentityFlags(program, 'look at this private key too (repeatable)');
  program
    .option('--keys', 'look at keys, although $SALVAGE_REPOSITORY is set')
    .option(
      '--thorough',
      'also try an object of 128 MiB, the largest that salvage stores, and a listing of several pages',
    )
    .option('--json', 'print the result as one JSON object')
    .action(async (options: Options) => {
      const isSet = options.repo !== undefined || (context.env['SALVAGE_REPOSITORY'] ?? '') !== '';
      await (isSet && !options.keys ? run(options, context) : doctorKeys(options, identities, context));
    });
}

/** Every key that somebody has set up here, and what is to be said of it. */
async function doctorKeys(
  { json }: Options,
  flags: readonly IdentityFlag[],
  context: CliContext,
): Promise<void> {
  const { terminal } = context;
  const keys = findKeys(flags, context).flatMap(checkKeys);
  if (json) await context.stdout.write(keys.map((key) => `${JSON.stringify(key)}\n`).join(''));
  else {
    const titles = ['KEY', 'FOR', 'KIND', 'STRENGTH', 'TRACEABLE', 'PASSPHRASE', 'MODE', 'LAST DRILL'];
    const rows = keys.map((key) => [
      key.path,
      key.role,
      key.kind,
      key.strength,
      key.traceable ?? '-',
      key.passphrase ?? (key.kind === 'unusable' ? '-' : 'public'),
      key.mode,
      key.role === 'restores' ? (key.lastDrill?.slice(0, 10) ?? 'never') : '-',
    ]);
    await context.stdout.write(
      formatTable(
        titles.map((title) => ({ title })),
        rows,
      ),
    );
  }
  for (const { path, problems } of keys)
    for (const problem of problems) terminal.warning(`${path}: ${problem}`);
  if (keys.length === 0) terminal.hint('salvage quickstart DIR makes keys, and a repository to try them');
  const isUnsafe = keys.some(({ problems }) => problems.some((problem) => problem.includes('chmod')));
  if (isUnsafe)
    throw new SalvageError('bad-key', 'Cannot call these keys safe: others can read some of them', {
      hint: 'Run the commands above.',
    });
}

function findKeys(flags: readonly IdentityFlag[], context: CliContext): ConfiguredKey[] {
  const paths = keyPaths(context.env);
  const drilled = new DrilledKeys(stateFolder('drilled-keys', context)).read();
  const found = new Map<string, ConfiguredKey>();
  const add = (role: ConfiguredKey['role'], path: string): void => {
    if (!found.has(path)) found.set(path, { role, path, lastDrill: drilled.get(path) });
  };
  const configurations = hostConfigurations(context);
  for (const id of configurations.list()) {
    const configuration = configurations.read(id);
    if (configuration) add('signs snapshots', configuration.signingKey);
  }
  const present: readonly (readonly [ConfiguredKey['role'], string])[] = [
    ['signs snapshots', paths.signingKey],
    ['signs as keeper', paths.keeperKey],
    ['signs as restorer', paths.restorerKey],
    ['restores', paths.identity],
    ['encrypts to', paths.recipients],
  ];
  for (const [role, path] of present) if (existsSync(path)) add(role, path);
  for (const path of drilled.keys()) if (existsSync(path)) add('restores', path);
  for (const flag of flags) if ('path' in flag) add('restores', resolve(flag.path));
  return [...found.values()];
}

async function run(options: Options, context: CliContext): Promise<void> {
  const { terminal, clock, signal } = context;
  // Two clients: what one has stored, another must see.
  const { storage } = await openRepositoryStorage(options, context);
  const { storage: second } = await openRepositoryStorage(options, context);
  if (!storage.capabilities.remove)
    terminal.info('This account may only add: the small objects that are tried now stay where they are.');
  const report = await checkStorage({
    storage,
    second,
    thorough: options.thorough ?? false,
    clock,
    onFinding: ({ title, state }) => terminal.detail(`${title}: ${state}`),
    signal,
  });
  if (options.json) await context.stdout.write(`${JSON.stringify(asJson(storage.description, report))}\n`);
  else {
    const columns = [{ title: 'STORAGE' }, { title: 'RESULT' }, { title: 'MORE' }];
    await context.stdout.write(formatTable(columns, report.findings.map(asRow)));
  }
  const failed = report.findings.filter(({ state, isNeeded }) => isNeeded && state === 'not honoured').length;
  if (failed > 0)
    throw new SalvageError(
      'failed',
      `Cannot recommend "${storage.description}": ${failed} ${failed === 1 ? 'thing' : 'things'} that backups rest on went wrong`,
      { hint: 'The table says which; a storage that does not keep what it is given keeps no backups.' },
    );
  terminal.info(
    report.mayRead
      ? 'This storage does what backups need.'
      : 'Nothing speaks against this storage; what only a reader can see was not checked.',
  );
}

function asRow({ title, state, isNeeded, detail }: StorageFinding): string[] {
  const result = {
    honoured: 'yes',
    'not honoured': isNeeded ? 'NO' : 'no',
    'not checked': '?',
    yes: 'yes',
    no: 'no',
    measured: '',
  };
  return [title, result[state], detail];
}

function asJson(storage: string, { findings, isFit, ...rest }: StorageReport): object {
  return { storage, fit: isFit, ...rest, findings };
}
