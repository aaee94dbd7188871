import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { SalvageError, type ErrorCode } from '../../errors/salvage-error.ts';
import { replacePrivateFile } from '../../posix/replace-private-file.ts';
import { countSchema, decodeJson, encodeJson } from '../../repository/json-document.ts';
import type { StepReport } from '../records/step-report.ts';

/** How a step ended last time. */
export interface LastRun {
  readonly startedAt: Date;
  readonly endedAt: Date;
  readonly outcome: StepReport['outcome'];
  readonly code?: ErrorCode | undefined;
  readonly message: string;
  readonly durationMs: number;
  /** How many there were. */
  readonly warnings: number;
  /** How often it ran, and how often it failed. */
  readonly runs: number;
  readonly failures: number;
  /** When it last ended well, warnings included. */
  readonly goodAt?: Date | undefined;
  /** What was counted then. */
  readonly numbers: Readonly<Record<string, number>>;
}

const maxBytes = 4 * 1024 * 1024;
const longestMessage = 1000;
const timeSchema = v.pipe(
  v.string(),
  v.isoTimestamp(),
  v.transform((text) => new Date(text)),
);
const schema = v.strictObject({
  format: v.literal('salvage-runs'),
  version: v.literal(1),
  configuration: v.string(),
  steps: v.record(
    v.string(),
    v.strictObject({
      startedAt: timeSchema,
      endedAt: timeSchema,
      outcome: v.picklist(['success', 'warning', 'failure']),
      code: v.optional(v.string()),
      message: v.string(),
      durationMs: v.number(),
      warnings: countSchema,
      runs: countSchema,
      failures: countSchema,
      goodAt: v.optional(timeSchema),
      numbers: v.record(v.string(), v.number()),
    }),
  ),
});

/** What is remembered of the runs of one configuration: how each step ended last time. One small file. */
export class RunState {
  readonly #path: string;
  readonly #configuration: string;
  readonly #steps: Map<string, LastRun>;

  private constructor(path: string, configuration: string, steps: Map<string, LastRun>) {
    this.#path = path;
    this.#configuration = configuration;
    this.#steps = steps;
  }

  /** An unreadable file counts as none, and is told: everything is due then. @throws failed if it cannot be read */
  static read(path: string, configuration: string, onNotice: (message: string) => void): RunState {
    let bytes: Buffer;
    try {
      bytes = readFileSync(path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT')
        return new RunState(path, configuration, new Map());
      throw new SalvageError('failed', `Cannot read "${path}": ${(cause as Error).message}`, { cause });
    }
    try {
      const { steps } = decodeJson(schema, bytes, maxBytes, path);
      return new RunState(path, configuration, new Map(Object.entries(steps) as [string, LastRun][]));
    } catch (error) {
      if (!(error instanceof SalvageError)) throw error;
      onNotice(`${error.message}: what ran last is not known, and everything is due`);
      return new RunState(path, configuration, new Map());
    }
  }

  of(id: string): LastRun | undefined {
    return this.#steps.get(id);
  }

  /** Keeps it, whole or not at all. @throws failed */
  record(id: string, report: StepReport): void {
    const { startedAt, endedAt, outcome, code, message, durationMs } = report;
    const before = this.of(id);
    const hasFailed = outcome === 'failure';
    const goodAt = hasFailed ? before?.goodAt : endedAt;
    this.#steps.set(id, {
      startedAt,
      endedAt,
      outcome,
      ...(code !== undefined && { code }),
      message: message.slice(0, longestMessage),
      durationMs: Math.max(0, durationMs),
      warnings: report.warnings.length,
      runs: (before?.runs ?? 0) + 1,
      failures: (before?.failures ?? 0) + Number(hasFailed),
      ...(goodAt && { goodAt }),
      numbers: hasFailed ? (before?.numbers ?? {}) : report.numbers,
    });
    try {
      replacePrivateFile(this.#path, this.#encode());
    } catch (cause) {
      throw new SalvageError('failed', `Cannot write "${this.#path}": ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  #encode(): Uint8Array {
    return encodeJson({
      format: 'salvage-runs',
      version: 1,
      configuration: this.#configuration,
      steps: Object.fromEntries(this.#steps),
    });
  }
}
