import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import {
  checkStorage,
  type StorageFinding,
  type StorageReport,
} from '../../operation/doctor/check-storage.ts';
import { formatTable } from '../../ui/table.ts';
import type { CliContext } from '../context.ts';
import { addRepositoryFlag, openRepositoryStorage, type RepositoryFlag } from '../repository-options.ts';

interface Options extends RepositoryFlag {
  readonly thorough?: boolean;
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage doctor --repo rclone:azure:backups/web-1',
  'salvage doctor --repo sftp://web-1@keeper/ --thorough',
];

export function register(program: Command, context: CliContext): void {
  addRepositoryFlag(program);
  program
    .option(
      '--thorough',
      'also try an object of 128 MiB, the largest that salvage stores, and a listing of several pages',
    )
    .option('--json', 'print the result as one JSON object')
    .action((options: Options) => run(options, context));
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
