import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SalvageError } from '../../errors/salvage-error.ts';
import { limits } from '../../repository/limits.ts';
import { planMemory } from './memory-plan.ts';

const mib = 1024 * 1024;
const gib = 1024 * mib;

test('as many threads as fit, and no more than asked for', () => {
  assert.equal(planMemory(250 * mib, 8, 0, 0).threads, 2);
  assert.equal(planMemory(250 * mib, 1, 0, 0).threads, 1);
  assert.equal(planMemory(2 * gib, 8, 0, 0).threads, 8);
  // Two packs of each thread wait in memory where they cannot go to a file.
  assert.equal(planMemory(250 * mib, 8, 0, 2).threads, 1);
});

test('packs in memory are no larger than fits, packs in files as large as the repository wants', () => {
  const terabytes = 8 * 1024 * gib;
  assert.equal(planMemory(250 * mib, 2, 0, 0).packTargetBytes, limits.packTarget.smallest);
  assert.equal(planMemory(250 * mib, 2, terabytes, 0).packTargetBytes, limits.packTarget.largest);
  const { threads, packTargetBytes } = planMemory(500 * mib, 2, terabytes, 2);
  assert.equal(threads, 2);
  assert.ok(packTargetBytes > limits.packTarget.smallest);
  assert.ok(180 * mib + threads * (32 * mib + 2 * 1.1 * packTargetBytes) <= 500 * mib);
});

test('too little is refused with what would do', () => {
  assert.throws(
    () => planMemory(100 * mib, 2, 0, 0),
    (error: unknown) =>
      error instanceof SalvageError && error.code === 'usage' && /--memory 212M/.test(error.hint ?? ''),
  );
  assert.equal(planMemory(212 * mib, 2, 0, 0).threads, 1);
});
