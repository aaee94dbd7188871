import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { OrderedWindow } from './ordered-window.ts';

test('items come out in the order in which they went in, however the answers arrive', () => {
  fc.assert(
    fc.property(fc.shuffledSubarray([...Array(60).keys()], { minLength: 60, maxLength: 60 }), (order) => {
      const window = new OrderedWindow(1000);
      const answered = new Set<number>();
      const emitted: number[] = [];
      for (let item = 0; item < 60; item++)
        window.add({ weight: 1, isReady: () => answered.has(item), emit: () => emitted.push(item) });
      for (const item of order) {
        answered.add(item);
        window.advance();
        assert.ok(emitted.every((value, at) => value === at));
      }
      assert.equal(emitted.length, 60);
      assert.ok(window.isEmpty);
    }),
  );
});

test('it is full until what holds it up has gone', async () => {
  const window = new OrderedWindow(3);
  let isReady = false;
  const emitted: string[] = [];
  window.add({ weight: 1, isReady: () => isReady, emit: () => emitted.push('a') });
  window.add({ weight: 2, isReady: () => true, emit: () => emitted.push('b') });
  assert.ok(window.isFull);
  const room = window.room();
  isReady = true;
  window.advance();
  await room;
  assert.deepEqual(emitted, ['a', 'b']);
  assert.ok(!window.isFull);
  window.add({ weight: 5, isReady: () => true, emit: () => emitted.push('c') });
  assert.deepEqual(emitted, ['a', 'b', 'c'], 'what need not wait is never held');
});
