import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planRestoreMemory } from './restore-memory.ts';

const mib = 1024 * 1024;

test('as many threads as fit, and what is left for packs', () => {
  assert.deepEqual(planRestoreMemory(250 * mib, 2), { threads: 2, wholePackBytes: 33 * mib });
  assert.deepEqual(planRestoreMemory(250 * mib, 64), { threads: 4, wholePackBytes: 3.5 * mib });
  assert.equal(planRestoreMemory(1024 * mib, 8).threads, 8);
});

test('too little memory is refused with what is enough', () => {
  assert.throws(() => planRestoreMemory(157 * mib, 4), {
    message: 'Cannot restore within 157 MiB of memory: it is too little',
    hint: 'Allow at least --memory 158M.',
  });
  assert.equal(planRestoreMemory(158 * mib, 4).threads, 1);
});
