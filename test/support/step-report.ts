import type { StepReport } from '../../src/operation/records/step-report.ts';

/** A report with something in every member. */
export function makeStepReport(changes: Partial<StepReport> = {}): StepReport {
  return {
    kind: 'backup',
    name: 'web',
    repository: 'main',
    url: 's3://bucket/web',
    host: 'db-1',
    outcome: 'failure',
    startedAt: new Date('2026-11-23T02:30:00.000Z'),
    endedAt: new Date('2026-11-23T02:30:12.345Z'),
    durationMs: 12_345,
    message: 'Cannot open the repository "s3://bucket/web": it does not answer',
    code: 'failed',
    hint: 'Try it again.',
    warnings: [],
    snapshot: undefined,
    numbers: { contentBytes: 1000, filesNew: 3, storedBytes: 500 },
    ...changes,
  };
}
