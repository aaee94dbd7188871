import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { InodeSet } from './inode-set.ts';

test('holds what was added and nothing else', () => {
  const inode = fc.oneof(
    fc.integer({ min: 1, max: 5000 }),
    fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  );
  const property = fc.property(fc.array(inode), fc.array(inode), (added, asked) => {
    const set = new InodeSet();
    const plain = new Set(added);
    for (const each of added) set.add(each);
    for (const each of [...added, ...asked]) assert.equal(set.has(each), plain.has(each));
  });
  fc.assert(property, { seed: 20_261_123 });
});

test('holds many that lie side by side, above the numbers of 32 bits too', () => {
  for (const base of [1, 2 ** 31 - 50_000, 2 ** 40]) {
    const set = new InodeSet();
    for (let index = 0; index < 100_000; index++) set.add(base + 2 * index);
    for (let index = 0; index < 100_000; index++) {
      assert.ok(set.has(base + 2 * index));
      assert.ok(!set.has(base + 2 * index + 1));
    }
  }
});
