import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SalvageError } from '../errors/salvage-error.ts';
import { PrintableText } from './printable-text.ts';

function isPrintable(...pieces: Uint8Array[]): boolean {
  const text = new PrintableText();
  try {
    for (const piece of pieces) text.check(piece);
    text.finish();
    return true;
  } catch (error) {
    assert.ok(error instanceof SalvageError);
    return false;
  }
}

test('text is UTF-8 without control characters but for line ends and tabs', () => {
  for (const text of ['', 'a\tb\r\n', 'ü漢🙂'])
    assert.ok(isPrintable(Buffer.from(text)), JSON.stringify(text));
  for (const text of ['\0', '\x1b[31m', '\x07', '\x7f', '\u009b'])
    assert.ok(!isPrintable(Buffer.from(text)), JSON.stringify(text));
  assert.ok(!isPrintable(Buffer.from([0xff])));
});

test('a character may be divided between two pieces, but not cut off', () => {
  const bytes = Buffer.from('🙂');
  assert.ok(isPrintable(bytes.subarray(0, 2), bytes.subarray(2)));
  assert.ok(!isPrintable(bytes.subarray(0, 2)));
});

test('the first mebibyte is held back', () => {
  const text = new PrintableText();
  text.check(Buffer.alloc(1024 * 1024, 'x'));
  assert.ok(text.mayStillBeRefused);
  text.check(Buffer.from('x'));
  assert.ok(!text.mayStillBeRefused);
});
