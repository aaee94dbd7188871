import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { SalvageError } from '../../errors/salvage-error.ts';
import { countSchema, decodeJson, encodeJson, timeSchema } from '../../repository/json-document.ts';
import { firstLine, type StepKind, type StepOutcome, type StepReport } from './step-report.ts';

const kinds = ['backup', 'pull', 'copy', 'verify', 'forget', 'prune', 'drill'] as const satisfies StepKind[];
const outcomes = ['success', 'warning', 'failure'] as const satisfies StepOutcome[];
const maxBytes = 64 * 1024;
const mostNumbers = 100;

/** One run of a step, as it is remembered. Times are RFC 3339. */
export interface StepRun {
  readonly outcome: StepOutcome;
  readonly startedAt: string;
  readonly endedAt: string;
  readonly durationMs: number;
  readonly message: string;
  /** How many there were. */
  readonly warnings: number;
  readonly snapshot: string | null;
  readonly numbers: Readonly<Record<string, number>>;
}

const runSchema: v.GenericSchema<unknown, StepRun> = v.strictObject({
  outcome: v.picklist(outcomes),
  startedAt: timeSchema,
  endedAt: timeSchema,
  durationMs: countSchema,
  message: v.string(),
  warnings: countSchema,
  snapshot: v.nullable(v.string()),
  numbers: v.record(v.string(), v.pipe(v.number(), v.finite())),
});

const schema = v.strictObject({
  format: v.literal('salvage-step'),
  version: v.literal(1),
  kind: v.picklist(kinds),
  name: v.pipe(v.string(), v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/)),
  repository: v.string(),
  runs: countSchema,
  failures: countSchema,
  last: runSchema,
  lastGood: v.nullable(runSchema),
});

/** What is remembered of a step of this name: its last run, the last one that did not fail, and how many there were. */
export interface StepMemory {
  readonly kind: StepKind;
  readonly name: string;
  readonly repository: string;
  readonly runs: number;
  readonly failures: number;
  readonly last: StepRun;
  /** Null if all have failed. */
  readonly lastGood: StepRun | null;
}

/**
 * How each step of the configuration ended when it last ran: one small file for each, from which metrics and `status` are
 * made. A convenience: whoever loses it loses no more than that.
 */
export class StepHistory {
  readonly #folder: string;

  /** `folder` need not exist. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Undefined if it never ran, or its file cannot be read. */
  read(kind: StepKind, name: string): StepMemory | undefined {
    return this.#read(fileName(kind, name));
  }

  /** Of all steps, in order of their kinds and names. What cannot be read is left out. */
  all(): StepMemory[] {
    let names: string[];
    try {
      names = readdirSync(this.#folder);
    } catch {
      return [];
    }
    return names
      .filter((name) => name.endsWith('.json'))
      .sort()
      .map((name) => this.#read(name))
      .filter((memory) => memory !== undefined);
  }

  /** Whole or not at all. @throws failed */
  write(report: StepReport): void {
    const { kind, name, repository } = report;
    const before = this.read(kind, name);
    const last = asRun(report);
    const hasFailed = report.outcome === 'failure';
    const memory = {
      kind,
      name,
      repository,
      runs: (before?.runs ?? 0) + 1,
      failures: (before?.failures ?? 0) + (hasFailed ? 1 : 0),
      last,
      lastGood: hasFailed ? (before?.lastGood ?? null) : last,
    };
    const path = join(this.#folder, fileName(kind, name));
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      const document = encodeJson({ format: 'salvage-step', version: 1, ...memory });
      writeFileSync(`${path}.new`, document, { mode: 0o600, flush: true });
      renameSync(`${path}.new`, path);
    } catch (cause) {
      throw new SalvageError('failed', `Cannot remember the run in "${path}": ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  #read(name: string): StepMemory | undefined {
    const path = join(this.#folder, name);
    try {
      const { format: _, version: __, ...memory } = decodeJson(schema, readFileSync(path), maxBytes, path);
      return fileName(memory.kind, memory.name) === name ? memory : undefined;
    } catch {
      return undefined;
    }
  }
}

function fileName(kind: StepKind, name: string): string {
  return `${kind}-${name}.json`;
}

function asRun({
  outcome,
  startedAt,
  endedAt,
  durationMs,
  message,
  warnings,
  snapshot,
  numbers,
}: StepReport): StepRun {
  const kept = Object.entries(numbers).filter(([, value]) => Number.isFinite(value));
  return {
    outcome,
    startedAt: startedAt.toISOString(),
    endedAt: endedAt.toISOString(),
    durationMs: Math.max(0, Math.round(durationMs)),
    message: firstLine(message),
    warnings: warnings.length,
    snapshot: snapshot ?? null,
    numbers: Object.fromEntries(kept.slice(0, mostNumbers)),
  };
}
