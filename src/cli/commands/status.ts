import { resolve } from 'node:path';
import type { Command } from 'commander';
import { dueFrom } from '../../configuration/due.ts';
import type { Configuration } from '../../configuration/configuration.ts';
import { planSteps, type Step } from '../../configuration/plan-steps.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { drillNamespace, DrillReports, type Drilled } from '../../operation/drill/drill-report.ts';
import type { FleetMember } from '../../operation/fleet/verify-fleet.ts';
import type { AllowedSigner } from '../../ssh/allowed-signers.ts';
import { matchesPatternList } from '../../ssh/pattern-list.ts';
import { isLocalUrl } from '../../storage/open-storage.ts';
import { formatDuration } from '../../ui/duration.ts';
import { formatSize } from '../../ui/size.ts';
import { formatTable } from '../../ui/table.ts';
import { addConfigurationFlag, loadConfiguration, type ConfigurationFlag } from '../configuration-option.ts';
import type { CliContext } from '../context.ts';
import {
  codeOf,
  examineFleet,
  findingJson,
  findMembers,
  fleetCells,
  fleetColumns,
  formatAge,
  openMember,
  rememberedHeads,
  stateOf,
  throwWorst,
  type FleetFlags,
} from '../fleet.ts';
import { judgeRepository, type ExpectedStep, type RepositoryReport } from '../judge-repository.ts';
import { nagiosLine } from '../nagios-line.ts';
import { parseDuration } from '../parse-duration.ts';
import { repositoryUrl, signerFlags } from '../perform-step.ts';
import { readRunState } from '../run-places.ts';
import { addKeeperFlag, addSignerFlags, readTrustedKeeper, readTrustedSigners } from '../signer-options.ts';
import { stateFolder } from '../state-folder.ts';

interface Options extends FleetFlags, ConfigurationFlag {
  readonly repo?: string;
  readonly maxAge?: string;
  readonly reports?: string;
  readonly nagios?: boolean;
}

export const examples: readonly string[] = [
  'salvage status',
  'salvage status --root /backup --allowed-signers allowed_signers --max-age 26h --json',
  'salvage status --nagios',
];

export function register(program: Command, context: CliContext): void {
  addConfigurationFlag(program);
  program
    .option('--root <url>', 'every repository below this place: a path or URL as for --repo')
    .option(
      '--repo <url>',
      'this repository (default: $SALVAGE_REPOSITORY unless there is --config; then those of the configuration)',
    );
  addSignerFlags(program);
  addKeeperFlag(program);
  program
    .option('--max-age <duration>', 'a newest snapshot older than this is not good enough: 26h, 8d')
    .option(
      '--state <folder>',
      'where the newest snapshots seen are remembered (default: $XDG_STATE_HOME/salvage/heads)',
    )
    .option('--reports <folder>', 'where the reports of drills are (default: $XDG_STATE_HOME/salvage/drills)')
    .option(
      '--ssh-command <command>',
      'the ssh program with its arguments, for sftp:// and ssh:// (default: $SALVAGE_SSH, then ssh)',
    )
    .option('--json', 'print one JSON object for each repository')
    .option(
      '--nagios',
      'print one line for Nagios, Icinga or Zabbix, and end with 0, 1, 2 or 3 as they have it',
    )
    .action(async (options: Options) => {
      if (options.nagios) return await runForNagios(options, context);
      const { reports, configuration } = await examine(options, context);
      await show(reports, options, configuration !== undefined, context);
      throwWorst(
        reports.map(
          ({ finding, drill, judgement }) =>
            codeOf(finding) ??
            (drill?.signature === 'bad' ? 'bad-signature' : judgement.state === 'ok' ? undefined : 'failed'),
        ),
      );
    });
}

/** Whatever goes wrong is an answer, too: UNKNOWN. */
async function runForNagios(options: Options, context: CliContext): Promise<void> {
  let answer: ReturnType<typeof nagiosLine>;
  try {
    const { reports } = await examine(options, context);
    answer = nagiosLine(reports, context.clock.now());
  } catch (error) {
    if (!(error instanceof SalvageError) || error.code === 'interrupted') throw error;
    answer = nagiosLine(error, context.clock.now());
  }
  await context.stdout.write(`${answer.line}\n`);
  context.answer(answer.state);
}

async function examine(
  options: Options,
  context: CliContext,
): Promise<{ readonly reports: RepositoryReport[]; readonly configuration: Configuration | undefined }> {
  const { root, config, maxAge } = options;
  const repo =
    options.repo ?? (root === undefined && config === undefined ? namedByEnvironment(context) : undefined);
  if (root !== undefined && repo !== undefined)
    throw new SalvageError('usage', 'Cannot look at --root and --repo at once');
  const maxAgeMs = maxAge === undefined ? undefined : parseDuration(maxAge, '--max-age');
  const drills = new DrillReports(options.reports ?? stateFolder('drills', context));
  const heads = rememberedHeads(options, context);
  const configuration =
    root === undefined && repo === undefined ? loadConfiguration(options, context) : undefined;
  // As for a run: storage may need it.
  Object.assign(process.env, configuration?.settings.environment);
  const members = configuration
    ? configuredMembers(configuration, context)
    : repo === undefined
      ? await findMembers(options, heads, context)
      : [namedMember(repo, options, context)];
  const steps = configuration ? expectedSteps(configuration, context) : [];
  const delayMs = configuration
    ? parseDuration(configuration.settings.service['randomized-delay'], 'randomized-delay')
    : 0;
  const findings = await examineFleet(
    members,
    { heads, readShare: 0, measureAt: context.clock.now() },
    // Programs that ask on behalf of monitoring take a word on standard error for a failure of theirs.
    (message) => options.nagios === true || context.terminal.warning(message),
    context.signal,
  );
  const now = context.clock.now();
  const reports = findings.map((finding, at): RepositoryReport => {
    const own = steps.filter(({ repository }) => repository === finding.name);
    const drill = finding.repository && drills.read(finding.repository, restorersOf(members[at]!));
    const facts = { finding, drill, steps: own, maxAgeMs, delayMs };
    const isOld = maxAgeMs !== undefined && (finding.newest?.getTime() ?? 0) + maxAgeMs < now.getTime();
    return {
      finding,
      drill,
      steps: own,
      judgement: judgeRepository(facts, now),
      isOld,
      next: nextOf(own, now),
    };
  });
  return { reports, configuration };
}

/** Empty counts as unset. */
function namedByEnvironment({ env }: CliContext): string | undefined {
  return env['SALVAGE_REPOSITORY'] || undefined;
}

/** Only who is listed for just that may sign reports of drills: a host that may sign anything is no restorer. */
function restorersOf({ trusted }: FleetMember): AllowedSigner[] {
  return (trusted?.allowedSigners ?? []).filter(
    ({ namespaces }) => namespaces !== undefined && matchesPatternList(drillNamespace, namespaces),
  );
}

/** @throws usage if there are none */
function configuredMembers(configuration: Configuration, context: CliContext): FleetMember[] {
  const members = Object.entries(configuration.settings.repositories).map(
    ([name, repository]): FleetMember => {
      const flags = signerFlags(repository, configuration);
      return {
        name,
        trusted: readTrustedSigners(flags, context),
        keeper: readTrustedKeeper(flags, context),
        open: () => openMember(repositoryUrl(name, configuration), repository['ssh-command'], context),
      };
    },
  );
  if (members.length > 0) return members;
  throw new SalvageError('usage', `Cannot tell a status: "${configuration.file}" names no repository`);
}

function namedMember(repo: string, flags: Options, context: CliContext): FleetMember {
  return {
    name: isLocalUrl(repo) && !repo.startsWith('file:') ? resolve(repo) : repo,
    trusted: readTrustedSigners(flags, context),
    keeper: readTrustedKeeper(flags, context),
    open: () => openMember(repo, flags.sshCommand, context),
  };
}

function expectedSteps(configuration: Configuration, context: CliContext): ExpectedStep[] {
  const state = readRunState(configuration, context);
  return planSteps(configuration.settings).map((step) => ({ ...step, last: state.of(step.id) }));
}

function nextOf(steps: readonly ExpectedStep[], now: Date): RepositoryReport['next'] {
  return steps
    .map(({ id, schedule, last }) => ({ id, at: dueFrom(schedule, last, now) }))
    .reduce<RepositoryReport['next']>(
      (first, step) => (first && first.at <= step.at ? first : step),
      undefined,
    );
}

async function show(
  reports: readonly RepositoryReport[],
  { json }: Options,
  isConfigured: boolean,
  { clock, stdout, terminal }: CliContext,
): Promise<void> {
  const now = clock.now();
  if (json) {
    for (const report of reports) await stdout.write(`${JSON.stringify(reportJson(report, now))}\n`);
    return;
  }
  for (const { finding, judgement } of reports)
    for (const reason of finding.error ? [] : judgement.reasons)
      terminal.warning(`${finding.name}: ${reason}`);
  if (isConfigured) {
    const columns = ['REPOSITORY', 'AGE', 'STORED', '7 DAYS', 'VERIFIED', 'DRILLED', 'NEXT', 'STATE'];
    await stdout.write(
      formatTable(
        columns.map((title) => ({ title })),
        reports.map((report) => configuredRow(report, now)),
      ),
    );
    return;
  }
  const isDrilled = reports.some(({ drill }) => drill);
  await stdout.write(
    formatTable(
      [...fleetColumns, { title: 'STATE' }, ...(isDrilled ? [{ title: 'DRILLED' }] : [])],
      reports.map((report) => [
        ...fleetCells(report.finding, now),
        stateText(report),
        describeDrill(report.drill, now),
      ]),
    ),
  );
}

function configuredRow(report: RepositoryReport, now: Date): string[] {
  const { finding, drill, steps, next } = report;
  const { stored, newest } = finding;
  const grown = stored?.grown?.week;
  const verified = steps.find(({ kind }) => kind === 'verify')?.last?.goodAt;
  return [
    finding.name,
    formatAge(newest, now),
    stored ? formatSize(stored.bytes) : '-',
    grown === undefined ? '-' : `+${formatSize(grown)}`,
    formatAge(verified, now),
    describeDrill(drill, now),
    next ? (next.at <= now ? 'due' : `in ${formatDuration(next.at.getTime() - now.getTime())}`) : '-',
    stateText(report),
  ];
}

/** In words as `verify --root` has them; else what monitoring calls it. */
function stateText({ finding, judgement, isOld }: RepositoryReport): string {
  const text = stateOf(finding);
  if (text !== 'clean' && text !== 'unchecked') return text;
  if (isOld) return 'TOO OLD';
  return judgement.state === 'ok' ? text : judgement.state.toUpperCase();
}

/** When it last proved that it can be restored. */
function describeDrill(drilled: Drilled | undefined, now: Date): string {
  if (!drilled) return 'never';
  const { report, signature } = drilled;
  if (signature === 'bad') return 'NOT TRUSTED';
  const ago = `${formatDuration(now.getTime() - new Date(report.time).getTime())} ago`;
  return report.passed ? ago : `FAILED ${ago}`;
}

function reportJson(report: RepositoryReport, now: Date): object {
  const { finding, drill, steps, judgement, isOld, next } = report;
  const verified = steps.find(({ kind }) => kind === 'verify')?.last;
  return {
    ...findingJson(finding, now),
    state: stateText(report),
    monitoring: judgement.state,
    reasons: judgement.reasons,
    tooOld: isOld,
    stored: finding.stored ?? null,
    steps: steps.map(stepJson),
    verified: verified?.goodAt?.toISOString() ?? null,
    drill: drill?.report ?? null,
    drillSignature: drill?.signature ?? null,
    next: next ? { id: next.id, at: next.at.toISOString() } : null,
  };
}

function stepJson({ id, schedule, last }: Step & ExpectedStep): object {
  return {
    id,
    schedule,
    outcome: last?.outcome ?? null,
    message: last?.message ?? null,
    endedAt: last?.endedAt.toISOString() ?? null,
    goodAt: last?.goodAt?.toISOString() ?? null,
  };
}
