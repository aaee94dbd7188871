import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SalvageError } from '../errors/salvage-error.ts';
import type { DrillReport } from '../operation/drill/drill-report.ts';
import type { FleetFinding } from '../operation/fleet/verify-fleet.ts';
import type { LastRun } from '../operation/run/run-state.ts';
import type { VerifyResult } from '../operation/verify/verify.ts';
import {
  judgeRepository,
  worstState,
  type ExpectedStep,
  type MonitoringState,
  type RepositoryFacts,
  type RepositoryReport,
} from './judge-repository.ts';
import { nagiosLine } from './nagios-line.ts';

/** Local time, as schedules are. */
const now = new Date(2026, 10, 23, 12, 0);
const hoursAgo = (hours: number): Date => new Date(now.getTime() - hours * 3_600_000);

function finding(changes: Partial<FleetFinding> = {}): FleetFinding {
  return {
    name: 'main',
    repository: undefined,
    result: undefined,
    error: undefined,
    newest: hoursAgo(2),
    snapshot: undefined,
    snapshots: 3,
    stored: undefined,
    ...changes,
  };
}

function lastRun(changes: Partial<LastRun>): LastRun {
  return {
    startedAt: hoursAgo(2),
    endedAt: hoursAgo(2),
    outcome: 'success',
    message: 'done',
    durationMs: 1,
    warnings: 0,
    runs: 1,
    failures: 0,
    goodAt: hoursAgo(2),
    numbers: {},
    ...changes,
  };
}

function step(last: LastRun | undefined, changes: Partial<ExpectedStep> = {}): ExpectedStep {
  const kind = changes.kind ?? 'backup';
  return { id: `${kind}:web`, kind, name: 'web', repository: 'main', schedule: '10:00', last, ...changes };
}

function judge(facts: Partial<RepositoryFacts>): [MonitoringState, ...string[]] {
  const { state, reasons } = judgeRepository(
    { finding: finding(), drill: undefined, steps: [], maxAgeMs: undefined, delayMs: 0, ...facts },
    now,
  );
  return [state, ...reasons];
}

function error(code: 'failed' | 'damaged' | 'no-repository'): FleetFinding {
  return finding({ error: new SalvageError(code, 'Cannot open it'), newest: undefined });
}

test('what storage says', () => {
  assert.deepEqual(judge({}), ['ok']);
  assert.deepEqual(judge({ finding: error('failed') }), ['unknown', 'Cannot open it']);
  assert.equal(judge({ finding: error('damaged') })[0], 'critical');
  assert.equal(judge({ finding: error('no-repository') })[0], 'critical');
  assert.deepEqual(judge({ finding: finding({ newest: undefined }) }), ['critical', 'there is no snapshot']);
  assert.equal(judge({ maxAgeMs: 2 * 3_600_000 })[0], 'ok');
  assert.deepEqual(judge({ maxAgeMs: 2 * 3_600_000 - 1 }), [
    'critical',
    'the newest snapshot is 2 h 00 min old',
  ]);
  const result = (kinds: string[]): VerifyResult =>
    ({ troubles: kinds.map((kind) => ({ kind, message: 'no' })) }) as unknown as VerifyResult;
  assert.deepEqual(judge({ finding: finding({ result: result(['unreadable']) }) }), [
    'unknown',
    '1 found that cannot be read',
  ]);
  assert.deepEqual(judge({ finding: finding({ result: result(['unreadable', 'missing']) }) }), [
    'critical',
    '2 found that are damaged, missing or forged',
  ]);
});

test('what the last drill says', () => {
  const report = { passed: true } as DrillReport;
  assert.equal(judge({ drill: { report, signature: 'trusted' } })[0], 'ok');
  assert.equal(judge({ drill: { report, signature: 'bad' } })[0], 'critical');
  assert.equal(
    judge({ drill: { report: { ...report, passed: false }, signature: 'trusted' } })[0],
    'critical',
  );
});

test('a backup that missed its time once is a warning, twice critical', () => {
  const since = (hours: number, delayMs = 0): MonitoringState =>
    judge({ steps: [step(lastRun({ goodAt: hoursAgo(hours) }))], delayMs })[0];
  // Due at 10:00 each day; it is 12:00, and an hour is given.
  assert.equal(since(1.9), 'ok');
  assert.equal(since(2.1), 'warning');
  assert.equal(since(2.1, 3_600_000), 'ok');
  assert.equal(since(25.9), 'warning');
  assert.equal(since(26.1), 'critical');
  assert.equal(since(10_000), 'critical');
  const each = (minutes: number): MonitoringState =>
    judge({ steps: [step(lastRun({ goodAt: hoursAgo(minutes / 60) }), { schedule: '*:00/15' })] })[0];
  assert.equal(each(29), 'ok');
  assert.equal(each(31), 'warning');
  assert.equal(each(46), 'critical');
});

test('other steps that missed their time are a warning', () => {
  const since = (hours: number): MonitoringState =>
    judge({ steps: [step(lastRun({ goodAt: hoursAgo(hours) }), { kind: 'verify' })] })[0];
  assert.equal(since(1.9), 'ok');
  assert.equal(since(2.1), 'warning');
  assert.equal(since(10_000), 'warning');
});

test('a failure is a warning, and critical if it never went well or found damage', () => {
  const failed = lastRun({ outcome: 'failure', message: 'Cannot', code: 'failed' });
  assert.deepEqual(judge({ steps: [step(failed)] }), ['warning', 'backup:web has failed: Cannot']);
  const damage = lastRun({ outcome: 'failure', message: 'Cannot', code: 'damaged' });
  assert.equal(judge({ steps: [step(damage, { kind: 'verify' })] })[0], 'critical');
  const { goodAt: _, ...never } = failed;
  assert.deepEqual(judge({ steps: [step(never)] })[0], 'critical');
  assert.equal(judge({ steps: [step(lastRun({})), step(undefined, { kind: 'verify' })] })[0], 'warning');
});

test('where nothing is known of runs, storage tells how old backups are', () => {
  const steps = [step(undefined), step(undefined, { kind: 'verify' })];
  assert.deepEqual(judge({ steps }), ['ok']);
  assert.equal(judge({ steps, finding: finding({ newest: hoursAgo(30) }) })[0], 'critical');
});

test('states are as bad as the worst of them', () => {
  assert.equal(worstState([]), 'ok');
  assert.equal(worstState(['ok', 'warning']), 'warning');
  assert.equal(worstState(['unknown', 'warning']), 'unknown');
  assert.equal(worstState(['critical', 'unknown']), 'critical');
});

test('one line for Nagios, whatever the texts are', () => {
  const report = (name: string, state: MonitoringState, reasons: string[]): RepositoryReport => ({
    finding: finding({ name, stored: { objects: 1, bytes: 5, grown: undefined } }),
    drill: undefined,
    steps: [],
    judgement: { state, reasons },
    isOld: false,
    next: undefined,
  });
  const { line, state } = nagiosLine(
    [report('a b', 'warning', ['x | y\n\u001b[2J']), report('c', 'ok', [])],
    now,
  );
  assert.equal(state, 'warning');
  assert.equal(
    line,
    "SALVAGE WARNING: 1 of 2 repositories ok; a b: x / y\\n\\x1b[2J | 'a_b_age'=7200s 'a_b_stored'=5B 'a_b_snapshots'=3 'c_age'=7200s 'c_stored'=5B 'c_snapshots'=3",
  );
  const unknown = nagiosLine(new SalvageError('failed', `Cannot ${'x'.repeat(5000)}`), now);
  assert.equal(unknown.state, 'unknown');
  assert.ok(unknown.line.length < 1100);
});
