import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { Configuration } from '../../configuration/configuration.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import {
  checkStorage,
  type StorageFinding,
  type StorageReport,
} from '../../operation/doctor/check-storage.ts';
import { keyPaths } from '../../keys/key-paths.ts';
import { checkKeys, type CheckedKey, type ConfiguredKey } from '../../operation/doctor/check-keys.ts';
import { DrilledKeys } from '../../operation/drill/drilled-keys.ts';
import type { RunState } from '../../operation/run/run-state.ts';
import { isLocalUrl } from '../../storage/open-storage.ts';
import { formatTable } from '../../ui/table.ts';
import {
  addConfigurationFlag,
  configurationPath,
  isOthers,
  type ConfigurationFlag,
} from '../configuration-option.ts';
import type { CliContext } from '../context.ts';
import {
  checkNamedFiles,
  checkSchedule,
  checkSpace,
  checkSteps,
  rolesIn,
} from '../doctor/check-configured.ts';
import { checkRepositories, type NamedRepository } from '../doctor/check-repositories.ts';
import { checkSurroundings } from '../doctor/check-surroundings.ts';
import { formatChecks, type MachineCheck } from '../doctor/machine-check.ts';
import { checkPrograms, neededPrograms } from '../doctor/needed-programs.ts';
import { addIdentityFlags, type IdentityFlag } from '../key-flags.ts';
import { parseDuration } from '../parse-duration.ts';
import { repositoryUrl } from '../perform-step.ts';
import { hostConfigurations, openRepositoryStorage, type RepositoryFlag } from '../repository-options.ts';
import { readRunState } from '../run-places.ts';
import { stateFolder } from '../state-folder.ts';
import { count } from '../../ui/count.ts';

interface Options extends RepositoryFlag, ConfigurationFlag {
  readonly keys?: boolean;
  readonly offline?: boolean;
  readonly timeLimit: string;
  readonly thorough?: boolean;
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage doctor',
  'salvage doctor --config /etc/salvage/salvage.toml --offline',
  'salvage doctor --repo rclone:azure:backups/web-1',
  'salvage doctor --repo sftp://web-1@keeper/ --thorough',
];

export function register(program: Command, context: CliContext): void {
  addConfigurationFlag(program);
  program
    .option('--offline', 'open no repository that is not on this machine')
    .option('--time-limit <duration>', 'a repository that has not answered by then is out of reach', '15s')
    .option('--keys', 'show everything that is known of the keys')
    .option(
      '--repo <url>',
      'try what this storage does, in a folder of its own there: a path or URL as for "salvage init"',
    )
    .option(
      '--ssh-command <command>',
      'with --repo, the ssh program with its arguments (default: $SALVAGE_SSH, then ssh)',
    );
  const identities = addIdentityFlags(program, 'look at this private key too (repeatable)');
  program
    .option(
      '--thorough',
      'with --repo, also try an object of 128 MiB, the largest that salvage stores, and a listing of several pages',
    )
    .option('--json', 'print one JSON object for each thing that was looked at; with --repo one for all')
    .action(async (options: Options) => {
      if (options.repo !== undefined) await run(options, context);
      else if (options.keys) await doctorKeys(options, identities, context);
      else await doctorMachine(options, identities, context);
    });
}

/** Whether this machine is ready for what it is to do. @throws failed, bad-key if it is not */
async function doctorMachine(
  options: Options,
  flags: readonly IdentityFlag[],
  context: CliContext,
): Promise<void> {
  const { terminal, env } = context;
  const limitMs = parseDuration(options.timeLimit, '--time-limit');
  const checks = [...checkSurroundings(context)];
  const { check, configuration } = readConfiguration(options, context);
  checks.push(check);
  const repositories: NamedRepository[] = [];
  let state: RunState | undefined;
  if (configuration) {
    const { settings, file } = configuration;
    // As for a run: storage may need it.
    Object.assign(process.env, settings.environment);
    state = readRunState(configuration, context);
    const path = settings.environment['PATH'] ?? env['PATH'] ?? '';
    checks.push(
      ...checkNamedFiles(configuration),
      ...checkPrograms(neededPrograms(configuration, env), path, dirname(file)),
    );
    for (const [name, { 'ssh-command': sshCommand }] of Object.entries(settings.repositories))
      repositories.push({ name, url: repositoryUrl(name, configuration), sshCommand });
  }
  const named = env['SALVAGE_REPOSITORY'] ?? '';
  if (named !== '' && !repositories.some(({ url }) => url === named))
    repositories.push({ name: 'SALVAGE_REPOSITORY', url: named });
  const keys = findKeys(flags, context).flatMap(checkKeys);
  checks.push(...keys.map(keyCheck));
  const reachable = options.offline ? repositories.filter(({ url }) => isLocalUrl(url)) : repositories;
  checks.push(
    ...(await checkRepositories(reachable, limitMs, context)),
    ...checkSpace(configuration, state, context),
  );
  if (configuration && state)
    checks.push(
      ...checkSchedule(configuration, context),
      ...checkSteps(configuration, state, context.clock.now()),
    );
  if (options.json)
    await context.stdout.write(
      checks.map(({ mend = null, ...found }) => `${JSON.stringify({ ...found, mend })}\n`).join(''),
    );
  else await context.stdout.write(formatChecks(checks, context.stdout.columns()));
  if (keys.length === 0) terminal.hint('salvage quickstart DIR makes keys, and a repository to try them');
  const isUnsafe = checks.some(({ check, state }) => check === 'key' && state === 'bad');
  const wrong = checks.filter((found) => found.state === 'bad' || found.state === 'missing').length;
  const warnings = checks.filter((found) => found.state === 'warn').length;
  if (wrong > 0)
    throw new SalvageError(
      isUnsafe && wrong === 1 ? 'bad-key' : 'failed',
      `Cannot call this machine ready: ${count(wrong, 'thing is', 'things are')} missing or wrong`,
      { hint: 'What mends each stands below it.' },
    );
  terminal.info(
    warnings === 0
      ? 'This machine is ready.'
      : `Nothing is missing, and ${warnings === 1 ? 'one thing' : `${warnings} things`} could be better.`,
  );
}

function readConfiguration(
  options: Options,
  context: CliContext,
): { readonly check: MachineCheck; readonly configuration?: Configuration } {
  const path = configurationPath(options, context);
  const subject = resolve(path);
  const isAsked = options.config !== undefined || (context.env['SALVAGE_CONFIG'] ?? '') !== '';
  if (!existsSync(path))
    return {
      check: {
        check: 'configuration',
        subject,
        state: isAsked ? 'missing' : 'warn',
        message: isAsked ? 'there is no such file' : 'there is none: nothing is done by itself',
        mend: 'write one: the manual has examples for each role, on the page "Operate"',
      },
    };
  try {
    const configuration = Configuration.load(path, context.env);
    const open = [configuration.file, ...configuration.included].find(isOthers);
    if (open !== undefined)
      return {
        check: {
          check: 'configuration',
          subject: open,
          state: 'bad',
          message: 'others can write it, and so have commands run as you',
          mend: `chmod go-w "${open}", or chown it`,
        },
        configuration,
      };
    const message = `is right: ${rolesIn(configuration)}`;
    return { check: { check: 'configuration', subject, state: 'ok', message }, configuration };
  } catch (error) {
    if (!(error instanceof SalvageError)) throw error;
    const [first = error.message] = String(error.details['excerpt'] ?? error.message).split('\n');
    return {
      check: {
        check: 'configuration',
        subject,
        state: 'bad',
        message: first.replace(`${subject}:`, 'line '),
        mend: `salvage config check --config "${path}"`,
      },
    };
  }
}

function keyCheck({ path, role, kind, strength, passphrase, problems }: CheckedKey): MachineCheck {
  const [problem] = problems;
  const kept = passphrase === undefined ? '' : `, passphrase: ${passphrase}`;
  const about = `${role}: ${strength.startsWith(kind) ? strength : [kind, strength].filter((text) => text !== '').join(', ')}${kept}`;
  if (problem === undefined) return { check: 'key', subject: path, state: 'ok', message: about };
  const isWrong = kind === 'unusable' || problem.includes('chmod');
  return { check: 'key', subject: path, state: isWrong ? 'bad' : 'warn', message: about, mend: problem };
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
      `Cannot recommend "${storage.description}": ${count(failed, 'thing')} that backups rest on went wrong`,
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
