import { SalvageError } from '../../errors/salvage-error.ts';
import { runProgram, type ProgramResult } from '../program/run-program.ts';
import {
  firstLine,
  stepReportJson,
  type Step,
  type StepKind,
  type StepReport,
} from '../records/step-report.ts';

export type HookMoment = 'before' | 'after' | 'success' | 'failure' | 'warning';

/** A command line of sh around steps. */
export interface Hook {
  readonly on: readonly HookMoment[];
  readonly command: string;
  /** Undefined: around steps of all kinds. */
  readonly steps?: readonly StepKind[] | undefined;
  /** Names of jobs, copies or repositories. Undefined: around all. */
  readonly names?: readonly string[] | undefined;
  readonly timeoutMs: number;
}

export interface HookSurroundings {
  /** To which the variables of the step are added. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Each line of what hooks print, for those who asked for details. */
  readonly onOutput: (hook: Hook, line: string) => void;
}

/**
 * Runs the hooks `before` the step, one after the other. The step must not happen if this throws.
 * @throws failed for the first one that fails: those behind it do not run; the signal's reason
 */
export async function runHooksBefore(
  hooks: readonly Hook[],
  step: Step,
  surroundings: HookSurroundings,
  signal: AbortSignal,
): Promise<void> {
  for (const hook of hooks.filter((candidate) => isMeant(candidate, 'before', step))) {
    const { trouble, output } = await runHook(hook, 'before', step, surroundings, signal);
    if (trouble === undefined) continue;
    throw new SalvageError('failed', `Cannot begin: the hook before it ${trouble}${lastLine(output)}`, {
      hint: 'Nothing was done. Run the command by itself to see why it fails.',
      details: { command: hook.command },
    });
  }
}

/**
 * Runs the hooks `after` a step and those for its outcome, in the order of the configuration. They run to their time
 * limits even if the run was interrupted, for they clear up what hooks before it have begun.
 * @returns a line for each hook that failed: that changes nothing for the step
 */
export async function runHooksAfter(
  hooks: readonly Hook[],
  report: StepReport,
  surroundings: HookSurroundings,
): Promise<string[]> {
  const troubles: string[] = [];
  for (const hook of hooks) {
    const moment = (['after', report.outcome] as const).find((candidate) => isMeant(hook, candidate, report));
    if (!moment) continue;
    const { trouble, output } = await runHook(hook, moment, report, surroundings);
    if (trouble !== undefined)
      troubles.push(
        `A hook failed (on ${moment}, ${report.kind} of ${report.name}): it ${trouble}${lastLine(output)}`,
      );
  }
  return troubles;
}

function isMeant({ on, steps, names }: Hook, moment: HookMoment, { kind, name, repository }: Step): boolean {
  return (
    on.includes(moment) &&
    (steps?.includes(kind) ?? true) &&
    (names?.some((candidate) => candidate === name || candidate === repository) ?? true)
  );
}

async function runHook(
  hook: Hook,
  moment: HookMoment,
  step: Step | StepReport,
  { env, onOutput }: HookSurroundings,
  signal?: AbortSignal,
): Promise<ProgramResult> {
  const report = 'outcome' in step ? stepReportJson(step) : startJson(step);
  const result = await runProgram(
    {
      program: '/bin/sh',
      args: ['-c', hook.command],
      env: { ...env, ...variablesOf(moment, step) },
      input: `${JSON.stringify({ hook: moment, url: step.url, ...report })}\n`,
      timeoutMs: hook.timeoutMs,
    },
    signal,
  );
  for (const line of result.output.split('\n')) if (line.trim() !== '') onOutput(hook, line);
  return result;
}

function startJson({ kind, name, repository, host, startedAt }: Step): Record<string, unknown> {
  return { step: kind, name, repository, host, startedAt: startedAt.toISOString() };
}

/** For hooks that have no use for JSON. */
function variablesOf(moment: HookMoment, step: Step | StepReport): Record<string, string> {
  const variables = {
    SALVAGE_HOOK: moment,
    SALVAGE_STEP: step.kind,
    SALVAGE_NAME: step.name,
    SALVAGE_REPOSITORY: step.url,
    SALVAGE_REPOSITORY_NAME: step.repository,
    SALVAGE_HOST: step.host,
  };
  if (!('outcome' in step)) return variables;
  return {
    ...variables,
    SALVAGE_OUTCOME: step.outcome,
    SALVAGE_MESSAGE: firstLine(step.message),
    SALVAGE_CODE: step.code ?? '',
    SALVAGE_SNAPSHOT: step.snapshot ?? '',
    SALVAGE_WARNINGS: String(step.warnings.length),
    SALVAGE_DURATION_SECONDS: (step.durationMs / 1000).toFixed(3),
  };
}

/** What a program printed last is mostly why it failed. */
function lastLine(output: string): string {
  const line = firstLine(output.split('\n').at(-1) ?? '');
  return line === '' ? '' : ` (${line.slice(0, 200)})`;
}
