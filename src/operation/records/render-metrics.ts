import type { LastRun } from '../run/run-state.ts';
import type { StepKind } from './step-report.ts';

/** What is remembered of a step. */
export interface StepMemory {
  readonly kind: StepKind;
  readonly name: string;
  readonly repository: string;
  readonly last: LastRun;
}

interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  /** Undefined: there is no sample of this step. */
  readonly value: (last: LastRun) => number | undefined;
}

const seconds = (time: Date): number => time.getTime() / 1000;
const counted =
  (number: string): Metric['value'] =>
  ({ numbers }) =>
    numbers[number];

/** Names as Prometheus and OpenMetrics advise: base units as suffixes, `_total` for what only grows. */
const metrics: readonly Metric[] = [
  {
    name: 'salvage_step_runs_total',
    type: 'counter',
    help: 'Runs of the step.',
    value: ({ runs }) => runs,
  },
  {
    name: 'salvage_step_failures_total',
    type: 'counter',
    help: 'Runs of the step that failed.',
    value: ({ failures }) => failures,
  },
  {
    name: 'salvage_step_last_run_timestamp_seconds',
    type: 'gauge',
    help: 'When the step last ended.',
    value: ({ endedAt }) => seconds(endedAt),
  },
  {
    name: 'salvage_step_last_run_succeeded',
    type: 'gauge',
    help: '1 if the last run of the step was done, with or without warnings; 0 if it failed.',
    value: ({ outcome }) => (outcome === 'failure' ? 0 : 1),
  },
  {
    name: 'salvage_step_last_run_warnings',
    type: 'gauge',
    help: 'Warnings of the last run of the step.',
    value: ({ warnings }) => warnings,
  },
  {
    name: 'salvage_step_last_run_duration_seconds',
    type: 'gauge',
    help: 'How long the last run of the step took.',
    value: ({ durationMs }) => Math.round(durationMs) / 1000,
  },
  {
    name: 'salvage_step_last_success_timestamp_seconds',
    type: 'gauge',
    help: 'When the last run of the step ended that did not fail.',
    value: ({ goodAt }) => goodAt && seconds(goodAt),
  },
  {
    name: 'salvage_step_last_content_bytes',
    type: 'gauge',
    help: 'Size of what was backed up, by the last run that did not fail.',
    value: counted('contentBytes'),
  },
  {
    name: 'salvage_step_last_read_bytes',
    type: 'gauge',
    help: 'Bytes that the last run that did not fail has read.',
    value: counted('bytesRead'),
  },
  {
    name: 'salvage_step_last_stored_bytes',
    type: 'gauge',
    help: 'Bytes that the last run that did not fail has stored.',
    value: counted('storedBytes'),
  },
  {
    name: 'salvage_step_last_new_files',
    type: 'gauge',
    help: 'New files, by the last run that did not fail.',
    value: counted('filesNew'),
  },
  {
    name: 'salvage_step_last_changed_files',
    type: 'gauge',
    help: 'Changed files, by the last run that did not fail.',
    value: counted('filesChanged'),
  },
  {
    name: 'salvage_step_last_unchanged_files',
    type: 'gauge',
    help: 'Unchanged files, by the last run that did not fail.',
    value: counted('filesUnchanged'),
  },
  {
    name: 'salvage_step_last_problems',
    type: 'gauge',
    help: 'What could not be read as it was, by the last run that did not fail.',
    value: counted('problems'),
  },
];

/**
 * What is remembered of all steps, in the text format of Prometheus (version 0.0.4), for the text-file collector of its node
 * exporter. Samples have no timestamps: the collector refuses them.
 */
export function renderMetrics(memories: readonly StepMemory[], version: string): string {
  const lines = [
    '# HELP salvage_build_info The version of salvage; always 1.',
    '# TYPE salvage_build_info gauge',
    `salvage_build_info{version="${escapeLabel(version)}"} 1`,
  ];
  for (const { name, type, help, value } of metrics) {
    const samples = memories.flatMap((memory) => {
      const number = value(memory.last);
      return number === undefined || !Number.isFinite(number)
        ? []
        : [`${name}{${labelsOf(memory)}} ${number}`];
    });
    if (samples.length > 0) lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples);
  }
  return `${lines.join('\n')}\n`;
}

function labelsOf({ kind, name, repository }: StepMemory): string {
  return Object.entries({ step: kind, name, repository })
    .map(([label, value]) => `${label}="${escapeLabel(value)}"`)
    .join(',');
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
