import { mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Command } from 'commander';
import type { Configuration } from '../../configuration/configuration.ts';
import { dueFrom } from '../../configuration/due.ts';
import { planSteps, type Step } from '../../configuration/plan-steps.ts';
import { nearestName } from '../../errors/nearest-name.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { stepReportJson, type StepReport } from '../../operation/records/step-report.ts';
import type { RunState } from '../../operation/run/run-state.ts';
import { isDamage, runSteps, worstCode, type RunnableStep } from '../../operation/run/run-steps.ts';
import { FileLock } from '../../posix/file-lock.ts';
import { formatDuration } from '../../ui/duration.ts';
import { systemSleep } from '../../clock/sleep.ts';
import type { Terminal } from '../../ui/terminal.ts';
import { formatTable } from '../../ui/table.ts';
import { addConfigurationFlag, loadConfiguration, type ConfigurationFlag } from '../configuration-option.ts';
import type { CliContext } from '../context.ts';
import { JsonEvents } from '../json-events.ts';
import { needsOf, performStep, repositoryUrl } from '../perform-step.ts';
import { readRunState, runPlaces } from '../run-places.ts';
import { StepSurroundings } from '../step-surroundings.ts';
import { systemError } from '../system-error.ts';

interface Options extends ConfigurationFlag {
  readonly all?: boolean;
  readonly scheduled?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** A run that goes on because of one slow host does what becomes due elsewhere, for so long: then a new one begins afresh. */
const longestMs = 24 * 3_600_000;

interface ChosenStep extends Step {
  readonly why: string;
}

export const examples: readonly string[] = [
  'salvage run',
  'salvage run etc --config /etc/salvage/salvage.toml',
];

export function register(program: Command, context: CliContext): void {
  program.argument(
    '[job...]',
    'names of jobs, copies or repositories, or steps such as verify:main: do these, due or not (default: what is due)',
  );
  addConfigurationFlag(program);
  program
    .option('--all', 'do everything, also what is not due')
    .option('--scheduled', 'for timers: it is no failure if another run is going on')
    .option('-n, --dry-run', 'say what would be done')
    .option('--json', 'print how each step ended and then the summary, one JSON object to a line')
    .action((names: string[], options: Options) => run(names, options, context));
}

async function run(names: readonly string[], options: Options, context: CliContext): Promise<void> {
  const configuration = loadConfiguration(options, context);
  const { terminal, clock, signal } = context;
  const { folder, lock: lockPath } = runPlaces(configuration, context);
  // Only ever called once, in a process that does nothing else.
  Object.assign(process.env, configuration.settings.environment);
  using lock = options.dryRun ? undefined : takeLock(folder, lockPath);
  if (!lock && !options.dryRun) {
    if (options.scheduled) return terminal.detail('Another run is going on');
    throw new SalvageError('busy', `Cannot run "${configuration.file}": another run is going on`, {
      hint: 'It does what is due; salvage schedule list shows how far it is.',
    });
  }
  const state = readRunState(configuration, context);
  const choose = (): ChosenStep[] => chooseSteps(names, options, configuration, state, clock.now());
  const steps = choose();
  if (options.dryRun) return await showPlan(steps, options, context);
  const events = new JsonEvents(options.json ?? false, context);
  const surroundings = new StepSurroundings(configuration, state, context);
  const { concurrency } = configuration.settings;
  const speakers = new Map<string, Terminal>();
  const speaker = (id: string): Terminal => {
    if (concurrency === 1) return terminal;
    if (!speakers.has(id)) speakers.set(id, terminal.named(id));
    return speakers.get(id)!;
  };
  const progress = concurrency > 1 && steps.length > 0 ? terminal.startProgress('running') : undefined;
  /** Steps that another program keeps from being done stay due, but not for this run. */
  const busy = new Set<string>();
  const mayLookAgain = concurrency > 1 && names.length === 0 && !options.all;
  const lookAgainUntilMs = clock.monotonicMs() + longestMs;
  let failures = 0;
  let ended = 0;
  const prepare = (step: Step): RunnableStep => {
    const own =
      concurrency === 1 ? context : { ...context, terminal: speaker(step.id), stdin: silent(context) };
    return runnable(step, configuration, own);
  };
  const reports = await runSteps(steps.map(prepare), {
    host: hostname(),
    damaged: damagedRepositories(configuration, state),
    observer: {
      async onBegin(step, id) {
        const { kind, name, repository } = step;
        const place = name === repository ? '' : ` (${repository})`;
        speaker(id).info(concurrency === 1 ? `${kind} ${name}${place}` : `begins${place}`);
        events.emit('begin', { id });
        await surroundings.begin(step, speaker(id));
      },
      async onEnd(report, id) {
        if (report.outcome === 'failure') failures++;
        if (report.code === 'busy') busy.add(id);
        ended++;
        progress?.setLabel(`${ended} of ${Math.max(ended, steps.length)} steps done,`);
        showEnd(report, concurrency === 1 ? `${id} failed` : 'failed', speaker(id));
        events.emit('step', { id, ...stepReportJson(report) });
        // What was not really tried stays due.
        if (report.code !== 'interrupted' && report.code !== 'busy') remember(id, report, state, context);
        await surroundings.end(report, speaker(id));
        // An interrupted run ends without a summary; a reader that has gone away shows at the end.
        await events.drain().catch(() => {});
      },
      onBug: (error) => terminal.error(error),
    },
    concurrency,
    more: mayLookAgain
      ? () =>
          clock.monotonicMs() > lookAgainUntilMs
            ? []
            : choose()
                .filter(({ id }) => !busy.has(id))
                .map(prepare)
      : undefined,
    sleep: systemSleep,
    clock,
    signal,
  }).finally(() => progress?.end());
  await events.end({ steps: reports.length, failures });
  if (steps.length === 0) terminal.info('Nothing is due');
  const worst = worstCode(reports);
  if (worst !== undefined)
    throw new SalvageError(
      worst,
      `Cannot call the run good: ${failures} of ${ended} ${ended === 1 ? 'step' : 'steps'} failed, each named above`,
      { hint: 'salvage run NAME tries one of them again.' },
    );
  if (reports.some(({ outcome }) => outcome === 'warning')) context.incomplete();
}

/** Nobody can answer several programs that ask at once. */
function silent({ stdin }: CliContext): CliContext['stdin'] {
  return { fd: 0, isTerminal: false, claim: (purpose) => stdin.claim(purpose) };
}

function takeLock(folder: string, path: string): FileLock | undefined {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return FileLock.take(path);
  } catch (error) {
    throw systemError(`take the lock "${path}"`, error);
  }
}

/** Those that are named; else those that are due, or all. */
function chooseSteps(
  names: readonly string[],
  { all = false }: Options,
  { settings, file }: Configuration,
  state: RunState,
  now: Date,
): ChosenStep[] {
  const steps = planSteps(settings);
  if (steps.length === 0)
    throw new SalvageError('usage', `Cannot run "${file}": it says nothing that is to be done`, {
      hint: 'Add a job, or a copy, or verify, retention or a drill to a repository.',
    });
  if (names.length > 0) {
    const known = new Set(steps.flatMap(({ id, name }) => [id, name]));
    for (const name of names)
      if (!known.has(name)) {
        const nearest = nearestName(name, [...known]);
        throw new SalvageError(
          'usage',
          `Cannot run "${name}": "${file}" has no such job, copy or repository`,
          {
            hint:
              nearest === undefined
                ? `There are: ${[...new Set(steps.map((step) => step.name))].join(', ')}`
                : `did you mean ${nearest}?`,
          },
        );
      }
    const asked = new Set(names);
    return steps
      .filter(({ id, name }) => asked.has(id) || asked.has(name))
      .map((step) => ({ ...step, why: 'named' }));
  }
  return steps.flatMap((step) => {
    const last = state.of(step.id);
    const from = dueFrom(step.schedule, last, now);
    if (from > now) return all ? [{ ...step, why: 'all' }] : [];
    if (!last) return [{ ...step, why: 'it never ran' }];
    return [{ ...step, why: `due for ${formatDuration(now.getTime() - from.getTime())}` }];
  });
}

function runnable(step: Step, configuration: Configuration, context: CliContext): RunnableStep {
  const { id, kind, name, repository } = step;
  const url = repositoryUrl(repository, configuration);
  const perform: RunnableStep['perform'] = (warnings) => performStep(step, configuration, context, warnings);
  const needs = needsOf(step, configuration, context);
  return { id, kind, name, repository, url, needs, perform };
}

function damagedRepositories({ settings }: Configuration, state: RunState): Set<string> {
  const names = Object.keys(settings.repositories);
  return new Set(names.filter((name) => isDamage(state.of(`verify:${name}`)?.code)));
}

function showEnd({ outcome, code, message, hint }: StepReport, what: string, terminal: Terminal): void {
  if (outcome === 'failure' && code !== 'interrupted') terminal.warning(`${what}: ${message}`, hint);
}

/** A memory that cannot be kept must not end the run: it would only be done again. */
function remember(id: string, report: StepReport, state: RunState, { terminal }: CliContext): void {
  try {
    state.record(id, report);
  } catch (error) {
    terminal.warning((error as Error).message);
  }
}

async function showPlan(steps: readonly ChosenStep[], { json }: Options, context: CliContext): Promise<void> {
  if (json)
    for (const { id, kind, name, repository, why } of steps)
      await context.stdout.write(`${JSON.stringify({ id, step: kind, name, repository, why })}\n`);
  else if (steps.length > 0)
    await context.stdout.write(
      formatTable(
        [{ title: 'STEP' }, { title: 'REPOSITORY' }, { title: 'WHY' }],
        steps.map(({ id, repository, why }) => [id, repository, why]),
      ),
    );
  if (steps.length === 0) context.terminal.info('Nothing is due');
}
