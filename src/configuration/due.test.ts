import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LastRun } from '../operation/run/run-state.ts';
import { dueFrom } from './due.ts';

const now = new Date(2026, 10, 23, 13, 30);

function at(day: number, hour: number, members: Partial<LastRun> = {}): LastRun {
  const startedAt = new Date(2026, 10, day, hour);
  return { startedAt, endedAt: startedAt, outcome: 'success', ...members } as LastRun;
}

test('what never ran is due, and what was missed is due since then', () => {
  assert.deepEqual(dueFrom('daily', undefined, now), now);
  assert.deepEqual(dueFrom('02:30', at(23, 3), now), new Date(2026, 10, 24, 2, 30));
  assert.deepEqual(dueFrom('02:30', at(20, 3), now), new Date(2026, 10, 21, 2, 30));
});

test('what failed for a reason that may pass is tried again after an hour', () => {
  assert.deepEqual(
    dueFrom('02:30', at(23, 12, { outcome: 'failure', code: 'failed' }), now),
    new Date(2026, 10, 23, 13),
  );
  assert.deepEqual(
    dueFrom('*:00/15', at(23, 12, { outcome: 'failure', code: 'failed' }), now),
    new Date(2026, 10, 23, 12, 15),
  );
  assert.deepEqual(
    dueFrom('02:30', at(23, 12, { outcome: 'failure', code: 'damaged' }), now),
    new Date(2026, 10, 24, 2, 30),
  );
});

test('a clock that was in the future does not keep anything from being done', () => {
  assert.deepEqual(dueFrom('daily', at(25, 0), now), now);
});
