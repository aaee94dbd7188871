import { existsSync } from 'node:fs';
import type { Configuration } from '../configuration/configuration.ts';
import type { Step } from '../configuration/plan-steps.ts';
import type { CopySettings, JobSettings } from '../configuration/schema/job-schema.ts';
import type { RepositorySettings, RetentionSettings } from '../configuration/schema/repository-schema.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import type { StepResult } from '../operation/run/run-steps.ts';
import { keyPaths } from '../keys/key-paths.ts';
import { parseHost } from '../storage/ssh-program/ssh-target.ts';
import { isLocalUrl } from '../storage/open-storage.ts';
import type { BackupFlags } from './commands/backup.ts';
import type { CopyFlags } from './commands/copy.ts';
import type { DrillFlags } from './commands/drill.ts';
import type { ForgetFlags } from './commands/forget.ts';
import type { CliContext } from './context.ts';
import type { IdentityFlag, PassphraseFlags } from './key-flags.ts';
import { parseDuration } from './parse-duration.ts';
import type { RepositoryFlag } from './repository-options.ts';
import type { SignerFlags } from './signer-options.ts';

/**
 * Does a step as its command would do it with the options that the configuration has for it, but prints no data. What it
 * warns of is also added to `warnings`.
 * @throws as the command
 */
export async function performStep(
  step: Step,
  configuration: Configuration,
  context: CliContext,
  warnings: string[],
): Promise<StepResult> {
  const told: string[] = [];
  let isIncomplete = false;
  const atEnd: (() => Promise<void>)[] = [];
  const own: CliContext = {
    ...context,
    stdout: { fd: 1, isTerminal: false, columns: () => Infinity, write: () => Promise.resolve() },
    atEnd: (work) => void atEnd.push(work),
    incomplete: () => {
      isIncomplete = true;
    },
  };
  context.terminal.listen((level, message) => void (level === 'info' ? told : warnings).push(message));
  try {
    const result = await runCommandOf(step, configuration, own);
    return {
      message: told.join('; ') || `${step.kind} is done`,
      isIncomplete,
      snapshot: newestSnapshot(result),
      numbers: numbersIn(result),
    };
  } finally {
    context.terminal.listen(undefined);
    for (const work of atEnd.reverse()) await work().catch(() => {});
  }
}

/**
 * What a step has for itself while it goes on: see RunnableStep. Backups of this machine go one after the other, and so does
 * what makes a key that is not there yet.
 */
export function needsOf(step: Step, configuration: Configuration, { env }: CliContext): string[] {
  const { repositories, jobs, copies } = configuration.settings;
  const { retention, drill, 'signing-key': signingKey } = repositories[step.repository]!;
  const needs = [repositoryUrl(step.repository, configuration)];
  const key = (path: string): void => void (!existsSync(path) && needs.push(path));
  if (step.kind === 'backup') needs.push('this machine');
  if (step.kind === 'pull') needs.push(hostOf(jobs[step.name]!));
  if (step.kind === 'copy') needs.push(repositoryUrl(copies[step.name]!.from, configuration));
  if (retention && signingKey === undefined && (step.kind === 'forget' || step.kind === 'prune'))
    key(keyPaths(env).keeperKey);
  if (step.kind === 'drill' && drill?.['signing-key'] === undefined) key(keyPaths(env).restorerKey);
  return needs;
}

/** Whoever logs in: another ssh command may mean another host by the same name. */
function hostOf({ pull, 'ssh-command': sshCommand = 'ssh' }: JobSettings): string {
  const target = parseHost(pull!);
  return typeof target === 'string' ? pull! : `${sshCommand} ${target.host}:${target.port ?? ''}`;
}

/** The URL of a repository, as for --repo. */
export function repositoryUrl(name: string, configuration: Configuration): string {
  const { url } = configuration.settings.repositories[name]!;
  return isLocalUrl(url) && !url.startsWith('file:') ? configuration.path(url) : url;
}

/** Each command is loaded only when it is needed, as on the command line. */
async function runCommandOf(step: Step, configuration: Configuration, context: CliContext): Promise<object> {
  const { repositories, jobs, copies } = configuration.settings;
  const repository = repositories[step.repository]!;
  const place = placeFlags(step.repository, configuration);
  switch (step.kind) {
    case 'backup': {
      const { runBackup } = await import('./commands/backup.ts');
      const job = jobs[step.name]!;
      const paths = (job.paths ?? []).map((path) => configuration.path(path));
      const flags = { ...place, ...passphraseFlags(repository, configuration) };
      return await runBackup(paths, { ...flags, ...backupFlags(job, configuration) }, context);
    }
    case 'pull': {
      const { runPull } = await import('./commands/pull.ts');
      const { pull, arguments: args = [], 'ssh-command': sshCommand, ...job } = jobs[step.name]!;
      const flags = {
        ...place,
        ...(sshCommand !== undefined && { sshCommand }),
        ...signerFlags(repository, configuration),
      };
      return await within(job['max-time'] ?? '1d', step.id, context, (own) =>
        runPull(pull!, args, flags, own),
      );
    }
    case 'copy': {
      const { runCopy } = await import('./commands/copy.ts');
      const copy = copies[step.name]!;
      const from = repositories[copy.from]!;
      const sshCommand = from['ssh-command'] ?? repository['ssh-command'];
      const flags = {
        ...signerFlags(from['allowed-signers'] === undefined ? repository : from, configuration),
        ...(sshCommand !== undefined && { sshCommand }),
        ...copyFlags(copy),
      };
      return await runCopy(repositoryUrl(copy.from, configuration), place.repo, flags, context);
    }
    case 'verify': {
      const { runVerify } = await import('./commands/verify.ts');
      const readData = repository.verify?.['read-data'];
      const flags = {
        ...place,
        ...signerFlags(repository, configuration),
        ...(readData !== undefined && { readData }),
      };
      return await runVerify(flags, [], context);
    }
    case 'forget': {
      const { runForget } = await import('./commands/forget.ts');
      const flags = { ...place, ...keeperFlags(repository, configuration) };
      return await runForget({ ...flags, ...forgetFlags(repository.retention!) }, context);
    }
    case 'prune': {
      const { runPrune } = await import('./commands/prune.ts');
      const flags = { ...place, ...keeperFlags(repository, configuration) };
      return await runPrune({ ...flags, grace: repository.retention!.grace }, context);
    }
    case 'drill': {
      const { runDrill } = await import('./commands/drill.ts');
      const flags = {
        ...place,
        ...signerFlags(repository, configuration),
        ...passphraseFlags(repository, configuration),
        ...drillFlags(repository, configuration),
      };
      return await runDrill(flags, identityFlags(repository, configuration), context);
    }
  }
}

/** A host that is slow on purpose must not keep its turn for ever. @throws failed when the time is over */
async function within<T>(
  maxTime: string,
  what: string,
  context: CliContext,
  work: (context: CliContext) => Promise<T>,
): Promise<T> {
  const limit = AbortSignal.timeout(Math.min(parseDuration(maxTime, 'max-time'), 2 ** 31 - 1));
  const signal = AbortSignal.any([context.signal, limit]);
  try {
    return await work({ ...context, signal });
  } catch (error) {
    if (!limit.aborted || context.signal.aborted) throw error;
    throw new SalvageError('failed', `Cannot finish ${what}: it took longer than ${maxTime}`, {
      hint: 'What was stored stays, and the next run carries on; "max-time" of the job gives it longer.',
      cause: error,
    });
  }
}

function placeFlags(name: string, configuration: Configuration): RepositoryFlag & { readonly repo: string } {
  const sshCommand = configuration.settings.repositories[name]!['ssh-command'];
  return { repo: repositoryUrl(name, configuration), ...(sshCommand !== undefined && { sshCommand }) };
}

/** What the configuration says of whom to trust. */
export function signerFlags(
  { 'allowed-signers': allowedSigners, signer, keeper }: RepositorySettings,
  configuration: Configuration,
): SignerFlags {
  return {
    ...(allowedSigners !== undefined && { allowedSigners: configuration.path(allowedSigners) }),
    ...(signer !== undefined && { signer }),
    ...(keeper !== undefined && { keeper }),
  };
}

function passphraseFlags({ passphrase }: RepositorySettings, configuration: Configuration): PassphraseFlags {
  if (!passphrase) return {};
  const source = configuration.secret(passphrase);
  return 'file' in source ? { passphraseFile: source.file } : { passphraseCommand: source.command };
}

function keeperFlags(
  repository: RepositorySettings,
  configuration: Configuration,
): SignerFlags & PassphraseFlags & { readonly signingKey?: string } {
  const { 'signing-key': signingKey } = repository;
  return {
    ...signerFlags(repository, configuration),
    ...passphraseFlags(repository, configuration),
    ...(signingKey !== undefined && { signingKey: configuration.path(signingKey) }),
  };
}

function identityFlags(
  { identities = [], plugins = [] }: RepositorySettings,
  configuration: Configuration,
): IdentityFlag[] {
  return [
    ...identities.map((path) => ({ path: configuration.path(path) })),
    ...plugins.map((plugin) => ({ plugin })),
  ];
}

function backupFlags(job: JobSettings, configuration: Configuration): BackupFlags {
  const { command, as, exclude, tags: tag, paranoid, memory, threads } = job;
  const excludeFrom = job['exclude-from']?.map((path) => configuration.path(path));
  const label = job.labels && Object.entries(job.labels).map(([name, value]) => `${name}=${value}`);
  return defined({
    command,
    as,
    exclude,
    excludeFrom,
    excludeCaches: job['exclude-caches'],
    excludeIfPresent: job['exclude-if-present'],
    oneFileSystem: job['one-file-system'],
    tag,
    label,
    paranoid,
    memory,
    threads,
    limitUpload: job['limit-upload'],
  });
}

function copyFlags(copy: CopySettings): CopyFlags {
  const { latest, repair, memory } = copy;
  return defined({
    latest,
    repair,
    memory,
    limitUpload: copy['limit-upload'],
    lockDays: copy['lock-days']?.toString(),
    lockMode: copy['lock-mode'],
  });
}

function forgetFlags(retention: RetentionSettings): Omit<ForgetFlags, keyof RepositoryFlag> {
  const number = (key: keyof RetentionSettings): string | undefined => retention[key]?.toString();
  return {
    maxRemove: retention['max-remove'],
    ...defined({
      keepLast: number('keep-last'),
      keepHourly: number('keep-hourly'),
      keepDaily: number('keep-daily'),
      keepWeekly: number('keep-weekly'),
      keepMonthly: number('keep-monthly'),
      keepYearly: number('keep-yearly'),
      keepWithin: retention['keep-within'],
      keepLabel: retention['keep-labels'],
      label: retention.label,
    }),
  };
}

function drillFlags({ drill }: RepositorySettings, configuration: Configuration): DrillFlags {
  const path = (key: 'scratch' | 'signing-key'): string | undefined => {
    const given = drill![key];
    return given === undefined ? undefined : configuration.path(given);
  };
  return {
    snapshot: drill!.snapshot,
    maxSize: drill!['max-size'],
    maxFiles: String(drill!['max-files']),
    maxTime: drill!['max-time'],
    ...defined({ check: drill!.check, scratch: path('scratch'), signingKey: path('signing-key') }),
  };
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without the members that are undefined. */
function defined<T extends object>(members: T): Defined<T> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Defined<T>;
}

/** Backups and drills have one snapshot, verify has a head, copies and pulls have lists. */
function newestSnapshot(result: object): string | undefined {
  const { snapshot, snapshots, head } = result as Readonly<Record<string, unknown>>;
  const last: unknown = snapshot ?? head ?? (Array.isArray(snapshots) ? snapshots.at(-1) : undefined);
  const id = typeof last === 'object' && last !== null && 'snapshot' in last ? last.snapshot : last;
  return typeof id === 'string' ? id : undefined;
}

function numbersIn(result: object): Record<string, number> {
  return Object.fromEntries(
    Object.entries(result).filter((entry): entry is [string, number] => typeof entry[1] === 'number'),
  );
}
