import type { Clock } from '../../clock/clock.ts';
import { SalvageError, type ErrorCode } from '../../errors/salvage-error.ts';
import type { Step, StepReport } from '../records/step-report.ts';

/** A step that can be done. */
export interface RunnableStep extends Omit<Step, 'host' | 'startedAt'> {
  /** Unique in a run. */
  readonly id: string;
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

/**
 * Does one step after the other. A failure keeps only those from being done that would make it worse, and they fail for it:
 * nothing is removed from a repository in which damage was found, and nothing is pruned where forget has failed.
 * @throws interrupted, when the step that was under way has been reported
 */
export async function runSteps(steps: readonly RunnableStep[], options: RunOptions): Promise<StepReport[]> {
  const { observer, signal } = options;
  const reports: StepReport[] = [];
  for (const step of steps) {
    signal.throwIfAborted();
    const report = await runStep(step, reasonToWait(step, reports, options.damaged), options);
    reports.push(report);
    await observer.onEnd(report, step.id);
    if (report.code === 'interrupted') signal.throwIfAborted();
  }
  return reports;
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
    reports.find((report) => report.kind === other && report.repository === repository);
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
