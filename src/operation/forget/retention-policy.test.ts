import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { SnapshotId } from '../../repository/ids.ts';
import { applyPolicy, type DatedSnapshot, type RetentionPolicy } from './retention-policy.ts';

const none: RetentionPolicy = {
  last: 0,
  hourly: 0,
  daily: 0,
  weekly: 0,
  monthly: 0,
  yearly: 0,
  withinMs: 0,
  labels: [],
};
const dayMs = 86_400_000;

function snapshot(number: number, received: string, more: Partial<DatedSnapshot> = {}): DatedSnapshot {
  const id = `${String(number).padStart(8, '0')}-20260101T000000Z-00000000` as SnapshotId;
  return { id, received: new Date(received), group: 'g', labels: {}, ...more };
}

/** Numbers of what stays, with the reasons. */
function kept(snapshots: readonly DatedSnapshot[], policy: Partial<RetentionPolicy>): string[] {
  return applyPolicy(snapshots, { ...none, ...policy })
    .filter(({ reasons }) => reasons.length > 0)
    .map(({ snapshot: { id }, reasons }) => `${Number(id.slice(0, 8))} ${reasons.join('+')}`);
}

test('the newest of each group stays, whatever the policy says', () => {
  const snapshots = [
    snapshot(1, '2026-01-01T00:00:00Z', { group: 'a' }),
    snapshot(2, '2026-01-01T01:00:00Z', { group: 'b' }),
    snapshot(3, '2026-01-01T02:00:00Z', { group: 'a' }),
  ];
  assert.deepEqual(kept(snapshots, {}), ['2 newest', '3 newest']);
  assert.deepEqual(kept(snapshots, { last: 1 }), ['2 last', '3 last']);
  assert.deepEqual(kept([], { last: 1 }), []);
});

test('of each hour, day, week, month and year the newest', () => {
  const times = [
    '2024-12-30T12:00:00Z', // Monday
    '2025-01-05T23:59:59Z', // Sunday of that week
    '2025-01-06T00:00:00Z', // Monday
    '2025-01-06T00:59:59Z',
    '2025-01-06T01:00:00Z',
    '2025-02-01T00:00:00Z',
  ];
  const snapshots = times.map((time, index) => snapshot(index + 1, time));
  assert.deepEqual(kept(snapshots, { hourly: 3 }), ['4 hourly', '5 hourly', '6 newest+hourly']);
  assert.deepEqual(kept(snapshots, { daily: 3 }), ['2 daily', '5 daily', '6 newest+daily']);
  assert.deepEqual(kept(snapshots, { weekly: 3 }), ['2 weekly', '5 weekly', '6 newest+weekly']);
  assert.deepEqual(kept(snapshots, { monthly: 9 }), ['1 monthly', '5 monthly', '6 newest+monthly']);
  assert.deepEqual(kept(snapshots, { yearly: 9 }), ['1 yearly', '6 newest+yearly']);
  assert.deepEqual(kept(snapshots, { last: 2, daily: 1, yearly: 2 }), [
    '1 yearly',
    '5 last',
    '6 last+daily+yearly',
  ]);
});

test('within a time before the newest of the group, not before now', () => {
  const snapshots = [1, 10, 11, 12].map((day, index) =>
    snapshot(index + 1, `2020-01-${String(day).padStart(2, '0')}T00:00:00Z`),
  );
  assert.deepEqual(kept(snapshots, { withinMs: 2 * dayMs }), ['2 within', '3 within', '4 newest+within']);
});

test('what has a label', () => {
  const snapshots = [
    snapshot(1, '2026-01-01T00:00:00Z', { labels: { release: '1' } }),
    snapshot(2, '2026-01-01T00:00:00Z', { labels: { release: '2' } }),
    snapshot(3, '2026-01-01T00:00:00Z', { labels: { toString: 'x' } }),
    snapshot(4, '2026-01-01T00:00:00Z'),
  ];
  const any = { name: 'release', value: undefined };
  assert.deepEqual(kept(snapshots, { labels: [any] }), ['1 label release', '2 label release', '4 newest']);
  assert.deepEqual(kept(snapshots, { labels: [{ name: 'release', value: '2' }] }), [
    '2 label release',
    '4 newest',
  ]);
  assert.deepEqual(kept(snapshots, { labels: [{ name: 'toString', value: undefined }] }), [
    '3 label toString',
    '4 newest',
  ]);
});

test('the sequence decides what is newest, whatever the times say', () => {
  const snapshots = [snapshot(1, '2031-01-01T00:00:00Z'), snapshot(2, '2026-01-01T00:00:00Z')];
  assert.deepEqual(kept(snapshots, { last: 1 }), ['2 last']);
});

test('more is kept by a larger number of anything, and each group keeps its newest', () => {
  const day = fc.integer({ min: 0, max: 800 });
  const snapshots = fc
    .array(fc.record({ day, group: fc.constantFrom('a', 'b') }), { maxLength: 40 })
    .map((all) =>
      all.map(({ day, group }, index) =>
        snapshot(index + 1, new Date(Date.UTC(2025, 0, 1) + day * dayMs).toISOString(), { group }),
      ),
    );
  const count = fc.integer({ min: 0, max: 6 });
  const policy = fc.record({ last: count, daily: count, weekly: count, monthly: count, yearly: count });
  const rule = fc.constantFrom('last', 'daily', 'weekly', 'monthly', 'yearly' as const);
  fc.assert(
    fc.property(snapshots, policy, rule, (all, less, which) => {
      const ids = (policy: Partial<RetentionPolicy>): string[] =>
        kept(all, policy).map((text) => text.split(' ')[0]!);
      const more = new Set(ids({ ...less, [which]: less[which as keyof typeof less] + 1 }));
      for (const id of ids(less)) assert.ok(more.has(id));
      for (const group of new Set(all.map(({ group }) => group))) {
        const newest = all.findLast((one) => one.group === group)!;
        assert.ok(more.has(String(Number(newest.id.slice(0, 8)))));
      }
    }),
    { numRuns: 200, seed: 20261123 },
  );
});
