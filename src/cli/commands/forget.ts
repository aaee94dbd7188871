import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import { executeForget, forgettable, planForget, type ForgetPlan } from '../../operation/forget/forget.ts';
import type { LabelPattern, RetentionPolicy } from '../../operation/forget/retention-policy.ts';
import { sequenceOf } from '../../repository/ids.ts';
import { formatTable } from '../../ui/table.ts';
import type { CliContext } from '../context.ts';
import { addKeeperFlags, openKeeperSession, type KeeperFlags } from '../keeper-options.ts';
import { parseDuration } from '../parse-duration.ts';
import { openRepositoryStorage } from '../repository-options.ts';
import { readTrustedSigners } from '../signer-options.ts';
import { gather, parseNumber } from '../option-values.ts';
import { count } from '../../ui/count.ts';

/** What its options are, for whoever starts it otherwise than by its command line. */
export interface ForgetFlags extends KeeperFlags {
  readonly keepLast?: string;
  readonly keepHourly?: string;
  readonly keepDaily?: string;
  readonly keepWeekly?: string;
  readonly keepMonthly?: string;
  readonly keepYearly?: string;
  readonly keepWithin?: string;
  readonly keepLabel?: readonly string[];
  readonly label?: string;
  readonly maxRemove: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage forget --repo /backup/web-1 --allowed-signers allowed_signers --signer web-1 --keep-daily 7 --keep-weekly 5 --keep-monthly 12 -n',
  'salvage forget --repo /backup/web-1 --allowed-signers allowed_signers --signer web-1 --keep-within 30d --keep-label release',
];

const periods = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
type Period = (typeof periods)[number];

export function register(program: Command, context: CliContext): void {
  addKeeperFlags(program);
  program.option('--keep-last <number>', 'keep the newest so many of each group; one always stays');
  for (const period of periods.slice(1))
    program.option(
      `--keep-${period} <number>`,
      `keep the newest of each ${unitOf(period)}, for so many of them that have one`,
    );
  program
    .option('--keep-within <duration>', 'keep what was received so long before the newest: 36h, 30d, 1y6m')
    .option('--keep-label <name[=value]>', 'keep what has this label (repeatable)', gather)
    .option('--label <name[=value]>', 'decide only about snapshots with this label')
    .option('--max-remove <share>', 'refuse to forget more than this share at once', '50%')
    .option('-n, --dry-run', 'show what would stay and what would go')
    .option('--json', 'print one JSON object for each snapshot')
    .action(async (options: ForgetFlags) => {
      await runForget(options, context);
    });
}

/** Returns how many went and how many stayed. @throws as the command */
export async function runForget(options: ForgetFlags, context: CliContext): Promise<object> {
  const { terminal, signal, clock } = context;
  const policy = readPolicy(options);
  const only = options.label === undefined ? undefined : parseLabel(options.label);
  const maxRemove = parseShare(options.maxRemove);
  const trusted = readTrustedSigners(options, context);
  if (!trusted)
    throw new SalvageError('usage', 'Cannot forget: nobody said whose snapshots count', {
      hint: 'Give --allowed-signers FILE and --signer HOST; the file must not come from the repository.',
    });
  const { storage } = await openRepositoryStorage(options, context);
  using session = await openKeeperSession(storage, options, context);
  const forgetting = {
    storage,
    session,
    trusted,
    policy,
    only,
    maxRemove,
    now: clock.now(),
    signal,
  };
  const plan = await planForget(forgetting);
  for (const { message } of plan.untrusted) terminal.warning(message);
  if (options.json) {
    for (const line of asJson(plan)) await context.stdout.write(`${line}\n`);
  } else if (plan.decisions.length > 0) await context.stdout.write(asTable(plan));
  const going = forgettable(plan);
  if (options.dryRun) terminal.info(`Would forget ${count(going.length, 'snapshot')}, and keep the rest`);
  else {
    await executeForget(plan, forgetting);
    const hint = going.length > 0 ? 'salvage prune frees the room that only they needed' : undefined;
    terminal.info(
      `Forgot ${count(going.length, 'snapshot')}, and kept ${plan.decisions.length - going.length}`,
      hint,
    );
  }
  if (plan.untrusted.length > 0)
    throw new SalvageError(
      'damaged',
      `Cannot trust ${plan.untrusted.length} of the snapshots, each named above: they were left alone`,
      { hint: 'salvage verify tells more.' },
    );
  return {
    dryRun: options.dryRun ?? false,
    forgotten: going.length,
    kept: plan.decisions.length - going.length,
  };
}

function asTable({ decisions }: ForgetPlan): string {
  const columns = [
    { title: 'NUMBER', align: 'right' },
    { title: 'ID' },
    { title: 'RECEIVED' },
    { title: 'GROUP' },
    { title: 'LABELS' },
    { title: 'STAYS' },
  ] as const;
  const rows = decisions.map(({ snapshot: { id, received, group, labels }, reasons }) => [
    String(sequenceOf(id)),
    id,
    received
      .toISOString()
      .replace('T', ' ')
      .replace(/(?:\.\d+)?Z$/, ' UTC'),
    group.slice(0, 8),
    Object.entries(labels)
      .map(([name, value]) => `${name}=${value}`)
      .join(' '),
    reasons.length > 0 ? reasons.join(', ') : 'no: it goes',
  ]);
  return formatTable(columns, rows);
}

function asJson({ decisions }: ForgetPlan): string[] {
  return decisions.map(({ snapshot: { id, received, group, labels }, reasons }) =>
    JSON.stringify({
      id,
      sequence: sequenceOf(id),
      received: received.toISOString(),
      group,
      labels,
      keep: reasons.length > 0,
      reasons,
    }),
  );
}

function readPolicy(options: ForgetFlags): RetentionPolicy {
  const numbers: Record<Period, string | undefined> = {
    last: options.keepLast,
    hourly: options.keepHourly,
    daily: options.keepDaily,
    weekly: options.keepWeekly,
    monthly: options.keepMonthly,
    yearly: options.keepYearly,
  };
  const { keepWithin, keepLabel = [] } = options;
  const isRuled = periods.some((period) => numbers[period] !== undefined);
  if (!isRuled && keepWithin === undefined && keepLabel.length === 0)
    throw new SalvageError('usage', 'Cannot forget: no rule says what to keep', {
      hint: 'For example --keep-daily 7 --keep-weekly 5 --keep-monthly 12, and -n to see what it does.',
    });
  const number = (period: Period): number =>
    parseNumber(numbers[period] ?? '0', `--keep-${period}`, 0, 99_999);
  return {
    last: number('last'),
    hourly: number('hourly'),
    daily: number('daily'),
    weekly: number('weekly'),
    monthly: number('monthly'),
    yearly: number('yearly'),
    withinMs: keepWithin === undefined ? 0 : parseDuration(keepWithin, '--keep-within'),
    labels: keepLabel.map(parseLabel),
  };
}

function parseLabel(text: string): LabelPattern {
  const at = text.indexOf('=');
  if (text === '' || at === 0)
    throw new SalvageError('usage', `Cannot use the label "${text}": it is not NAME or NAME=VALUE`);
  return at < 0 ? { name: text, value: undefined } : { name: text.slice(0, at), value: text.slice(at + 1) };
}

function parseShare(text: string): number {
  const percent = Number(/^(\d{1,3}(?:\.\d{1,3})?)%$/.exec(text)?.[1]);
  if (!(percent >= 0 && percent <= 100))
    throw new SalvageError('usage', `Cannot use --max-remove ${text}: give a share such as 20%`);
  return percent / 100;
}

function unitOf(period: Period): string {
  return period === 'daily' ? 'day' : period.replace(/ly$/, '');
}
