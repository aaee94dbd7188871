import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultMemoryBytes } from './memory-budget.ts';

const mib = 1024 * 1024;
const gib = 1024 * mib;

test('large machines give more by default', () => {
  assert.equal(defaultMemoryBytes(2 * gib), 250 * mib);
  assert.equal(defaultMemoryBytes(32 * gib), 512 * mib);
  assert.equal(defaultMemoryBytes(1024 * gib), gib);
});
