import assert from 'node:assert/strict';
import { test } from 'node:test';
import { count } from '../ui/count.ts';
import { gather, parseNumber } from './option-values.ts';

test('a number is whole and within its bounds, and the error names them', () => {
  assert.equal(parseNumber('64', '--threads', 1, 64), 64);
  assert.equal(parseNumber('-20', '--nice', -20, 19), -20);
  for (const text of ['', '0', '65', '1.5', '1e1', ' 1', '0x1', 'one', '9'.repeat(400)])
    assert.throws(() => parseNumber(text, '--threads', 1, 64), {
      code: 'usage',
      message: `Cannot use --threads "${text.slice(0, 100)}": give a number from 1 to 64`,
    });
});

test('repeated flags are gathered in order', () => {
  assert.deepEqual(gather('b', gather('a')), ['a', 'b']);
});

test('things are counted in words', () => {
  assert.deepEqual(
    [count(0, 'file'), count(1, 'file'), count(2, 'entry', 'entries')],
    ['0 files', '1 file', '2 entries'],
  );
});
