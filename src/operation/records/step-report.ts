import type { ErrorCode } from '../../errors/salvage-error.ts';

/** The kinds of steps of a run. */
export type StepKind = 'backup' | 'pull' | 'copy' | 'verify' | 'forget' | 'prune' | 'drill';
/** `warning`: done, but something was left out, such as a file that could not be read. */
export type StepOutcome = 'success' | 'warning' | 'failure';

/** One thing that a run does. No member may hold a secret: hooks, alarms and records tell all of them to others. */
export interface Step {
  readonly kind: StepKind;
  /** Of the job, copy or repository, as the configuration has it. */
  readonly name: string;
  /** The name of the repository that is written to, or looked at. */
  readonly repository: string;
  /** Its URL, as for --repo. For hooks only: alarms and records do without it. */
  readonly url: string;
  /** This machine. */
  readonly host: string;
  readonly startedAt: Date;
}

/** How a step ended, also when it could not begin. What hooks, alarms and records are given. */
export interface StepReport extends Step {
  readonly outcome: StepOutcome;
  readonly endedAt: Date;
  readonly durationMs: number;
  /** One line for people: what was done, or the message of the error. */
  readonly message: string;
  /** With `failure`. */
  readonly code?: ErrorCode | undefined;
  /** What to do, with `failure`. */
  readonly hint?: string | undefined;
  /** One line each, the first of them. */
  readonly warnings: readonly string[];
  /** The snapshot that was made or looked at. */
  readonly snapshot?: string | undefined;
  /** What was counted: members of the summary that the command prints with --json. */
  readonly numbers: Readonly<Record<string, number>>;
}

/** So many warnings are told. */
const mostWarnings = 20;
const mostCharacters = 1000;

/** The report as JSON for other programs (docs/manual/alarms.md "The result"). */
export function stepReportJson(report: StepReport): Record<string, unknown> {
  const { kind, name, repository, host, outcome, startedAt, endedAt, durationMs, numbers } = report;
  const { message, code, hint, warnings, snapshot } = report;
  return {
    step: kind,
    name,
    repository,
    host,
    outcome,
    message: firstLine(message),
    code: code ?? null,
    hint: hint === undefined ? null : firstLine(hint),
    warnings: warnings.slice(0, mostWarnings).map(firstLine),
    snapshot: snapshot ?? null,
    startedAt: startedAt.toISOString(),
    endedAt: endedAt.toISOString(),
    durationSeconds: Math.round(durationMs) / 1000,
    numbers,
  };
}

/** `backup of web on db-1 FAILED`: what a subject or title has room for. */
export function stepTitle({ kind, name, host, outcome }: StepReport): string {
  const ending = { success: 'is done', warning: 'is done, with warnings', failure: 'FAILED' }[outcome];
  return `${kind} of ${name} on ${host} ${ending}`;
}

/** What a message has room for: a few lines, without control characters. */
export function stepText(report: StepReport): string {
  const { message, hint, warnings, repository, snapshot, startedAt, durationMs } = report;
  const more = warnings.length - mostWarnings;
  return [
    message,
    ...(hint === undefined ? [] : [hint]),
    ...warnings.slice(0, mostWarnings).map((warning) => `- ${warning}`),
    ...(more > 0 ? [`- and ${more} more`] : []),
    `Repository: ${repository}`,
    ...(snapshot === undefined ? [] : [`Snapshot: ${snapshot}`]),
    `Began: ${startedAt.toISOString()}; took ${(durationMs / 1000).toFixed(1)} s`,
  ]
    .map(firstLine)
    .join('\n');
}

/** Names of files and messages of servers come from outside: one line, bounded, nothing that a terminal or a log would obey. */
export function firstLine(text: string): string {
  const line = text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]+/gu, ' ').trim();
  return line.length <= mostCharacters ? line : `${line.slice(0, mostCharacters)}…`;
}
