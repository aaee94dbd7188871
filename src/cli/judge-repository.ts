import { nextTime, parseCalendar } from '../configuration/calendar.ts';
import type { Step } from '../configuration/plan-steps.ts';
import type { Drilled } from '../operation/drill/drill-report.ts';
import type { FleetFinding } from '../operation/fleet/verify-fleet.ts';
import type { LastRun } from '../operation/run/run-state.ts';
import { isDamage } from '../operation/run/run-steps.ts';
import { formatDuration } from '../ui/duration.ts';

/** In the words of those who watch many things: https://www.monitoring-plugins.org/doc/guidelines.html */
export type MonitoringState = 'ok' | 'warning' | 'critical' | 'unknown';

/** A step of the configuration that has to do with the repository, and how it ended last time. */
export interface ExpectedStep extends Step {
  readonly last: LastRun | undefined;
}

export interface RepositoryFacts {
  readonly finding: FleetFinding;
  readonly drill: Drilled | undefined;
  readonly steps: readonly ExpectedStep[];
  /** A newest snapshot older than this is not good enough. */
  readonly maxAgeMs: number | undefined;
  /** So much later than planned a step may begin. */
  readonly delayMs: number;
}

export interface Judgement {
  readonly state: MonitoringState;
  /** A sentence for each thing that is not as it should be, without its full stop. */
  readonly reasons: readonly string[];
}

/** Everything that is known of a repository. */
export interface RepositoryReport {
  readonly finding: FleetFinding;
  readonly drill: Drilled | undefined;
  readonly steps: readonly ExpectedStep[];
  readonly judgement: Judgement;
  readonly isOld: boolean;
  /** What is done next, and when; before now if it is due. */
  readonly next: { readonly id: string; readonly at: Date } | undefined;
}

/** Worst last. What cannot be known may be anything, and is worse than a warning. */
const severity: readonly MonitoringState[] = ['ok', 'warning', 'unknown', 'critical'];
const mostGraceMs = 3_600_000;

export function worstState(states: readonly MonitoringState[]): MonitoringState {
  return severity[Math.max(0, ...states.map((state) => severity.indexOf(state)))]!;
}

/**
 * Whether a repository is as its owner wants it. A backup that was missed once is a warning, one that was missed twice is
 * critical, as is whatever says that stored data is not what it should be.
 */
export function judgeRepository(facts: RepositoryFacts, now: Date): Judgement {
  const { steps, delayMs } = facts;
  // Run by another machine or user, whose memory this is not: what storage has is all that is known.
  const isRunHere = steps.some((step) => step.last);
  const known = { newest: facts.finding.newest, isRunHere, delayMs };
  const found = [...judgeStorage(facts, now), ...steps.flatMap((step) => judgeStep(step, known, now))];
  return { state: worstState(found.map(([state]) => state)), reasons: found.map(([, reason]) => reason) };
}

type Finding = readonly [state: MonitoringState, reason: string];

function judgeStorage({ finding, drill, maxAgeMs }: RepositoryFacts, now: Date): Finding[] {
  const { error, result, newest } = finding;
  if (error) {
    const isLost = isDamage(error.code) || error.code === 'no-repository';
    return [[isLost ? 'critical' : 'unknown', error.message]];
  }
  const found: Finding[] = [];
  const troubles = result?.troubles ?? [];
  if (troubles.length > 0) {
    const unreadable = troubles.every(({ kind }) => kind === 'unreadable');
    const what = unreadable ? 'cannot be read' : 'damaged, missing or forged';
    found.push([
      unreadable ? 'unknown' : 'critical',
      `${troubles.length} found that ${unreadable ? '' : 'are '}${what}`,
    ]);
  }
  if (!newest) found.push(['critical', 'there is no snapshot']);
  else if (maxAgeMs !== undefined && newest.getTime() + maxAgeMs < now.getTime())
    found.push([
      'critical',
      `the newest snapshot is ${formatDuration(now.getTime() - newest.getTime())} old`,
    ]);
  if (drill?.signature === 'bad')
    found.push(['critical', 'nobody who may has signed the report of the last drill']);
  else if (drill && !drill.report.passed) found.push(['critical', 'the last drill has failed']);
  return found;
}

/** What is known beside the memory of a step. */
export interface StepFacts {
  /** Of the snapshots in the repository. */
  readonly newest: Date | undefined;
  /** False if the memory of another machine or user has what ran. */
  readonly isRunHere: boolean;
  /** So much later than planned it may begin. */
  readonly delayMs: number;
}

/** What is to be said of a step: nothing if it was done as its schedule wants. */
export function judgeStep(
  { id, kind, schedule, last }: ExpectedStep,
  { newest, isRunHere, delayMs }: StepFacts,
  now: Date,
): Finding[] {
  const isBackup = kind === 'backup' || kind === 'pull' || kind === 'copy';
  const found: Finding[] = [];
  if (last?.outcome === 'failure')
    found.push([isDamage(last.code) ? 'critical' : 'warning', `${id} has failed: ${last.message}`]);
  const good = isRunHere ? last?.goodAt : isBackup ? newest : now;
  if (good) {
    const missed = missedTimes(schedule, good, delayMs, now);
    const text = `${id} was last done ${formatDuration(now.getTime() - good.getTime())} ago`;
    if (missed > 1 && isBackup) found.push(['critical', `${text}, and missed more than once since`]);
    else if (missed > 0) found.push(['warning', `${text}, and missed since`]);
  } else if (isRunHere) found.push([last && isBackup ? 'critical' : 'warning', `${id} was never done`]);
  return found;
}

/** How many times went by without it: none, one, or two for more. A grace, of up to an hour, is for those that take their time. */
function missedTimes(schedule: string, good: Date, delayMs: number, now: Date): number {
  const calendar = parseCalendar(schedule)!;
  const first = nextTime(calendar, good);
  const second = nextTime(calendar, first);
  const graceMs = delayMs + Math.min(mostGraceMs, second.getTime() - first.getTime());
  const deadline = now.getTime() - graceMs;
  return [first, second].filter((time) => time.getTime() < deadline).length;
}
