import { Option, type Command } from 'commander';
import type { Configuration } from '../../configuration/configuration.ts';
import { dueFrom } from '../../configuration/due.ts';
import { planSteps, type Step } from '../../configuration/plan-steps.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { LastRun } from '../../operation/run/run-state.ts';
import { formatDuration } from '../../ui/duration.ts';
import { formatTable } from '../../ui/table.ts';
import { addConfigurationFlag, loadConfiguration, type ConfigurationFlag } from '../configuration-option.ts';
import type { CliContext } from '../context.ts';
import { planService } from '../plan-service.ts';
import { readRunState } from '../run-places.ts';
import { detectScheduler, scheduler, type Scheduler, type SchedulerKind } from '../schedulers.ts';

interface Options extends ConfigurationFlag {
  readonly kind?: SchedulerKind;
  readonly system?: boolean;
  readonly user?: boolean;
  readonly name: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

type Action = (options: Options, context: CliContext) => Promise<void>;

const actions: Readonly<Record<string, Action>> = { install, list, remove };

export const examples: readonly string[] = [
  'salvage schedule install --dry-run',
  'salvage schedule install --config /etc/salvage/salvage.toml',
  'salvage schedule list',
];

export function register(program: Command, context: CliContext): void {
  program.argument(
    '<action>',
    'install: have runs started when something is due; list: what ran last, and what is next; remove: end that',
  );
  addConfigurationFlag(program);
  program
    .addOption(
      new Option(
        '--kind <kind>',
        'what starts runs (default: systemd where it runs, else cron; on macOS launchd)',
      ).choices(['systemd', 'cron', 'launchd']),
    )
    .option('--system', 'for the whole system (default for root)')
    .option('--user', 'for you (default for everybody else)')
    .option('--name <name>', 'of the units, the block in the crontab, or the job of launchd', 'salvage')
    .option('-n, --dry-run', 'install, remove: show the files, and change nothing')
    .option('--json', 'list: print one JSON object for each step')
    .action(async (action: string, options: Options) => {
      const run = Object.hasOwn(actions, action) ? actions[action] : undefined;
      if (!run)
        throw new SalvageError('usage', `Cannot "${action}" a schedule: give install, list or remove`);
      await run(options, context);
    });
}

async function install(options: Options, context: CliContext): Promise<void> {
  const plan = planService(options.name, loadConfiguration(options, context), context);
  const chosen = choose(options, context);
  if (options.dryRun) {
    for (const [path, text] of Object.entries(chosen.files(plan)))
      await context.stdout.write(`# ${path}\n${text}\n`);
    return;
  }
  chosen.install(plan);
  const { terminal } = context;
  terminal.info(`Installed: ${Object.keys(chosen.files(plan)).join(', ')}`);
  if (chosen.kind === 'systemd' && chosen.scope === 'user')
    terminal.hint('loginctl enable-linger has it run also while you are not logged in');
  terminal.hint('salvage run does what is due now; salvage schedule list shows what is next');
}

async function remove(options: Options, context: CliContext): Promise<void> {
  const chosen = choose(options, context);
  const place = chosen.find(options.name);
  if (place === undefined) return context.terminal.info(`Nothing named "${options.name}" is installed`);
  if (options.dryRun) return context.terminal.info(`Would remove "${options.name}": ${place}`);
  chosen.remove(options.name);
  context.terminal.info(`Removed "${options.name}": ${place}`);
  await Promise.resolve();
}

async function list(options: Options, context: CliContext): Promise<void> {
  const configuration = loadConfiguration(options, context);
  const now = context.clock.now();
  const rows = stepTimes(configuration, now, context);
  if (options.json)
    for (const row of rows) await context.stdout.write(`${JSON.stringify(asJson(row, now))}\n`);
  else if (rows.length > 0)
    await context.stdout.write(
      formatTable(
        ['STEP', 'SCHEDULE', 'LAST', 'RESULT', 'NEXT'].map((title) => ({ title })),
        rows.map((row) => asRow(row, now)),
      ),
    );
  const place = choose(options, context).find(options.name);
  const { terminal } = context;
  if (place !== undefined) return terminal.info(`Started by ${place}`);
  terminal.info('Nothing starts these runs by itself yet');
  terminal.hint('salvage schedule install');
}

interface StepTimes {
  readonly step: Step;
  readonly last: LastRun | undefined;
  /** In the past if it is due. */
  readonly next: Date;
}

function stepTimes(configuration: Configuration, now: Date, context: CliContext): StepTimes[] {
  const state = readRunState(configuration, context);
  return planSteps(configuration.settings).map((step) => {
    const last = state.of(step.id);
    return { step, last, next: dueFrom(step.schedule, last, now) };
  });
}

function asRow({ step, last, next }: StepTimes, now: Date): string[] {
  const ago = last && `${formatDuration(Math.max(0, now.getTime() - last.startedAt.getTime()))} ago`;
  return [
    step.id,
    step.schedule,
    ago ?? 'never',
    last?.outcome ?? '-',
    next <= now ? 'now' : `in ${formatDuration(next.getTime() - now.getTime())}`,
  ];
}

function asJson({ step, last, next }: StepTimes, now: Date): object {
  const { id, repository, schedule } = step;
  return {
    id,
    repository,
    schedule,
    last: last?.startedAt ?? null,
    outcome: last?.outcome ?? null,
    message: last?.message ?? null,
    lastGood: last?.goodAt ?? null,
    next,
    due: next <= now,
  };
}

function choose({ kind = detectScheduler(), system, user }: Options, context: CliContext): Scheduler {
  if (system && user) throw new SalvageError('usage', 'Cannot use --system and --user at once');
  const isSystem = system ?? (!user && process.getuid?.() === 0);
  return scheduler(kind, isSystem ? 'system' : 'user', context);
}
