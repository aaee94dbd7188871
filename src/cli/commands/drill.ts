import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import { keyPaths } from '../../keys/key-paths.ts';
import { loadSigner } from '../../keys/load-signer.ts';
import { DrilledKeys } from '../../operation/drill/drilled-keys.ts';
import { DrillReports, drillNamespace, type DrillReport } from '../../operation/drill/drill-report.ts';
import { drill, type DrillResult } from '../../operation/drill/drill.ts';
import { formatDuration } from '../../ui/duration.ts';
import { formatSize } from '../../ui/size.ts';
import type { CliContext } from '../context.ts';
import { ensureSigningKey } from '../ensure-signing-key.ts';
import { keepProcessSmall } from '../keep-process-small.ts';
import { passphraseRequester, type IdentityFlag } from '../key-flags.ts';
import { parseDuration } from '../parse-duration.ts';
import { parseSize } from '../parse-size.ts';
import { addReadingFlags, RepositoryReader, type ReadingFlags } from '../reading-options.ts';
import { stateFolder } from '../state-folder.ts';
import { parseNumber } from '../option-values.ts';

/** What its options are, for whoever starts it otherwise than by its command line. */
export interface DrillFlags extends ReadingFlags {
  readonly snapshot: string;
  readonly maxSize: string;
  readonly maxFiles: string;
  readonly maxTime: string;
  readonly check?: string;
  readonly scratch?: string;
  readonly signingKey?: string;
  readonly reports?: string;
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage drill --repo /backup/web-1 -i ~/.ssh/id_ed25519 --allowed-signers allowed_signers --signer web-1',
  `salvage drill --repo /backup/db -i key.txt --max-size 100G --check 'pg_restore --list app.dump > /dev/null'`,
];

export function register(program: Command, context: CliContext): void {
  const identities = addReadingFlags(program);
  program
    .option('--snapshot <snapshot>', 'the snapshot to restore', 'latest')
    .option('--max-size <size>', 'restore everything up to this size, else files chosen by lot', '1G')
    .option('--max-files <number>', 'restore so many files at most', '1000')
    .option('--max-time <duration>', 'a drill that takes longer has failed', '1h')
    .option('--check <command>', 'a command line of sh, run in the folder with what was restored')
    .option('--scratch <folder>', 'restore to a new folder in FOLDER, removed afterwards (default: $TMPDIR)')
    .option(
      '--signing-key <file>',
      'sign the report with this key (default: one of salvage, made if there is none)',
    )
    .option(
      '--reports <folder>',
      'where the last report of each repository is kept (default: $XDG_STATE_HOME/salvage/drills)',
    )
    .option('--json', 'print the report as one JSON object')
    .action(async (options: DrillFlags) => {
      await runDrill(options, identities, context);
    });
}

/** Returns what `--json` says. @throws as the command */
export async function runDrill(
  options: DrillFlags,
  flags: readonly IdentityFlag[],
  context: CliContext,
): Promise<DrillReport> {
  const { terminal, signal, clock } = context;
  const limits = {
    maxBytes: parseSize(options.maxSize, '--max-size'),
    maxFiles: parseNumber(options.maxFiles, '--max-files', 1, 999_999),
  };
  const maxMs = Math.max(1, Math.min(parseDuration(options.maxTime, '--max-time'), 2 ** 31 - 1));
  const reader = await RepositoryReader.open(options, flags, context);
  reader.requireIdentity();
  const key =
    options.signingKey === undefined
      ? await ensureSigningKey(keyPaths(context.env).restorerKey, 'restorer', drillNamespace, context)
      : resolve(options.signingKey);
  const signer = await loadSigner(key, {
    requestPassphrase: passphraseRequester(options, context),
    agentSocket: context.env['SSH_AUTH_SOCK'],
  });
  const snapshot = await reader.open(options.snapshot);
  const scratch = makeScratch(options.scratch ?? tmpdir());
  keepProcessSmall();
  const progress = terminal.startProgress('restoring');
  let result: DrillResult;
  try {
    result = await drill(
      {
        storage: reader.storage,
        snapshot,
        objects: reader.objects,
        scratch,
        limits,
        maxMs,
        check: options.check,
        clock,
        signal,
      },
      {
        onFinding: (message) => terminal.warning(message),
        onTotal: (bytes, files) => progress.setTotal(bytes, files),
        onProgress: (bytes, files) => progress.advance(bytes, files),
      },
    );
  } finally {
    progress.end();
    removeScratch(scratch, context);
  }
  const { report, code } = result;
  const reports = new DrillReports(options.reports ?? stateFolder('drills', context));
  await reports.write(report, signer);
  if (report.passed) rememberKeys(flags, report.time, context);
  if (options.json) await context.stdout.write(`${JSON.stringify(report)}\n`);
  describe(report, reports.pathOf(report.repository), context);
  if (code !== undefined)
    throw new SalvageError(
      code,
      `Cannot restore snapshot ${report.snapshot} as it should be: ${report.findings.length} found, each named above`,
      { hint: 'salvage verify -i KEY tells more; do not wait until you need it.' },
    );
  return report;
}

/** Which of several keys it was that opened the snapshot is not known: only a single one is proved. */
function rememberKeys(flags: readonly IdentityFlag[], time: string, context: CliContext): void {
  const [flag] = flags;
  if (flags.length !== 1 || !flag || !('path' in flag) || flag.path === '-') return;
  new DrilledKeys(stateFolder('drilled-keys', context)).add([resolve(flag.path)], time);
}

function describe(report: DrillReport, path: string, { terminal }: CliContext): void {
  const { snapshot, scope, files, bytes, allFiles, allBytes, durationMs, check, passed } = report;
  const what =
    scope === 'everything'
      ? `all ${files} files (${formatSize(bytes)})`
      : `${files} of ${allFiles} files (${formatSize(bytes)} of ${formatSize(allBytes)}), chosen by lot,`;
  if (passed)
    terminal.info(
      `Restored ${what} of snapshot ${snapshot} in ${formatDuration(durationMs)}, and every blob is right`,
    );
  if (check === 'passed') terminal.info('The check is content');
  terminal.info(`Signed report: ${path}`);
}

function makeScratch(folder: string): string {
  try {
    return mkdtempSync(join(folder, 'salvage-drill-'));
  } catch (cause) {
    throw new SalvageError(
      'failed',
      `Cannot make a scratch folder in "${folder}": ${(cause as Error).message}`,
      { hint: 'Name a folder with room in it, with --scratch.', cause },
    );
  }
}

/** What was restored may be folders that nobody may write. It must not stay: it is in clear. */
function removeScratch(folder: string, { terminal }: CliContext): void {
  const openAll = (path: Buffer): void => {
    chmodSync(path, 0o700);
    for (const entry of readdirSync(path, { withFileTypes: true, encoding: 'buffer' }))
      if (entry.isDirectory()) openAll(Buffer.concat([path, Buffer.from('/'), entry.name]));
  };
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch {
    try {
      openAll(Buffer.from(folder));
      rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      terminal.warning(
        `Cannot remove "${folder}", which holds what was restored: ${(error as Error).message}`,
      );
    }
  }
}
