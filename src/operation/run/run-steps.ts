import type { Clock } from '../../clock/clock.ts';
import type { Sleep } from '../../clock/sleep.ts';
import { SalvageError, type ErrorCode } from '../../errors/salvage-error.ts';
import type { Step, StepReport } from '../records/step-report.ts';

/** A step that can be done. */
export interface RunnableStep extends Omit<Step, 'host' | 'startedAt'> {
  readonly id: string;
  /** What it has for itself while it goes on: repositories, a host. Steps that share one keep their order. */
  readonly needs: readonly string[];
  /** Does it, and adds what it warns of to `warnings`, one line each. @throws */
  perform(warnings: string[]): Promise<StepResult>;
}

export interface StepResult {
  /** One line for people. */
  readonly message: string;
  /** Some sources could not be read. */
  readonly isIncomplete: boolean;
  readonly snapshot: string | undefined;
  readonly numbers: Readonly<Record<string, number>>;
}

/** What happens around steps. */
export interface RunObserver {
  /** In front of a step that is going to be done. If it throws, the step has failed and is not done. */
  onBegin(step: Step, id: string): void | Promise<void>;
  /** Whatever happened: must not throw. */
  onEnd(report: StepReport, id: string): void | Promise<void>;
  /** An error that is no SalvageError: our bug. */
  onBug(error: unknown): void;
}

export interface RunOptions {
  /** This machine. */
  readonly host: string;
  /** Names of repositories in which the last verify has found damage. */
  readonly damaged: ReadonlySet<string>;
  readonly observer: RunObserver;
  /** So many steps go on side by side. */
  readonly concurrency: number;
  /** Asked while steps go on: what has become due since. Those that are under way or wait count once. */
  readonly more?: (() => readonly RunnableStep[]) | undefined;
  readonly sleep: Sleep;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Exit codes of several steps come to one: the first of these that occurs. */
const worstFirst: readonly ErrorCode[] = [
  'interrupted',
  'damaged',
  'bad-signature',
  'age-header',
  'age-hmac',
  'age-payload',
  'age-armor',
  'no-identity-match',
  'no-repository',
  'bad-key',
  'failed',
  'usage',
  'busy',
];

/** So often a run that waits for its steps asks for more. */
const askAgainMs = 30_000;

/**
 * Does the steps in their order, as many side by side as may be: those that need the same go one after the other. A failure
 * keeps only those from being done that would make it worse, and they fail for it: nothing is removed from a repository in
 * which damage was found, and nothing is pruned where forget has failed.
 * @returns reports in the order in which the steps ended
 * @throws interrupted, when the steps that were under way have been reported
 */
export async function runSteps(steps: readonly RunnableStep[], options: RunOptions): Promise<StepReport[]> {
  const { observer, concurrency, more, sleep, signal } = options;
  const reports: StepReport[] = [];
  const waiting = [...steps];
  const going = new Map<RunnableStep, Promise<void>>();
  const begin = async (step: RunnableStep): Promise<void> => {
    const report = await runStep(step, reasonToWait(step, reports, options.damaged), options);
    reports.push(report);
    await observer.onEnd(report, step.id);
    going.delete(step);
  };
  for (;;) {
    while (going.size < concurrency && !signal.aborted) {
      const next = firstFree(waiting, going.keys());
      if (!next) break;
      waiting.splice(waiting.indexOf(next), 1);
      going.set(next, begin(next));
    }
    if (going.size === 0) break;
    const ended = new AbortController();
    const pause = more ? [sleep(askAgainMs, ended.signal).catch(() => {})] : [];
    await Promise.race([...going.values(), ...pause]);
    ended.abort();
    const known = new Set([...waiting, ...going.keys()].map(({ id }) => id));
    if (more && !signal.aborted) waiting.push(...more().filter(({ id }) => !known.has(id)));
  }
  if (waiting.length > 0 || reports.some(({ code }) => code === 'interrupted')) signal.throwIfAborted();
  return reports;
}

/** The first that needs nothing of those that are under way or before it. */
function firstFree(
  waiting: readonly RunnableStep[],
  going: Iterable<RunnableStep>,
): RunnableStep | undefined {
  const taken = new Set([...going].flatMap(({ needs }) => needs));
  for (const step of waiting) {
    if (!step.needs.some((need) => taken.has(need))) return step;
    for (const need of step.needs) taken.add(need);
  }
  return undefined;
}

/** The code of the worst that happened; undefined if nothing failed. */
export function worstCode(reports: readonly StepReport[]): ErrorCode | undefined {
  return worstFirst.find((code) => reports.some((report) => report.code === code));
}

/** `wait`: why it is not done. */
async function runStep(
  runnable: RunnableStep,
  wait: SalvageError | undefined,
  { host, observer, clock }: RunOptions,
): Promise<StepReport> {
  const { kind, name, repository, url } = runnable;
  const startedAt = clock.now();
  const startMs = clock.monotonicMs();
  const step = { kind, name, repository, url, host, startedAt };
  const end = (): Pick<StepReport, 'endedAt' | 'durationMs'> => ({
    endedAt: clock.now(),
    durationMs: clock.monotonicMs() - startMs,
  });
  const warnings: string[] = [];
  try {
    if (wait) throw wait;
    await observer.onBegin(step, runnable.id);
    const { isIncomplete, ...result } = await runnable.perform(warnings);
    return { ...step, ...end(), outcome: isIncomplete ? 'warning' : 'success', warnings, ...result };
  } catch (error) {
    if (!(error instanceof SalvageError)) observer.onBug(error);
    const { code, message, hint } =
      error instanceof SalvageError
        ? error
        : { code: 'failed' as const, message: `A bug in salvage: ${String(error)}`, hint: undefined };
    return { ...step, ...end(), outcome: 'failure', code, message, hint, warnings, numbers: {} };
  }
}

function reasonToWait(
  { kind, repository }: RunnableStep,
  reports: readonly StepReport[],
  damaged: ReadonlySet<string>,
): SalvageError | undefined {
  if (kind !== 'forget' && kind !== 'prune') return undefined;
  const before = (other: Step['kind']): StepReport | undefined =>
    reports.findLast((report) => report.kind === other && report.repository === repository);
  const verified = before('verify');
  if (verified ? isDamage(verified.code) : damaged.has(repository))
    return new SalvageError('damaged', `Cannot ${kind}: verify has found damage in "${repository}"`, {
      hint: `Nothing is removed until "salvage run verify:${repository}" finds none.`,
    });
  const forgot = before('forget');
  if (kind !== 'prune' || forgot?.outcome !== 'failure') return undefined;
  return new SalvageError(forgot.code ?? 'failed', `Cannot prune: forget has failed in "${repository}"`);
}

/** Whether a code says that what is stored is not as it should be. */
export function isDamage(code: ErrorCode | undefined): boolean {
  return code === 'damaged' || code === 'bad-signature';
}
