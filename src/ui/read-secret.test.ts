import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SalvageError } from '../errors/salvage-error.ts';
import { SecretLine } from './read-secret.ts';

function type(...pieces: string[]): string | undefined {
  const line = new SecretLine();
  for (const piece of pieces) if (line.push(Buffer.from(piece))) return line.take();
  return undefined;
}

test('a line ends with Enter, be it carriage return or line feed, or with Ctrl-D', () => {
  assert.equal(type('secret\r'), 'secret');
  assert.equal(type('sec', 'ret\nmore'), 'secret');
  assert.equal(type('secret\x04'), 'secret');
  assert.equal(type('\r'), '');
  assert.equal(type('no end'), undefined);
});

test('keys that correct: backspace takes a character, not a byte; Ctrl-U takes all', () => {
  assert.equal(type('ab\x7fc\r'), 'ac');
  assert.equal(type('a😀\x7f\x08b\r'), 'b');
  assert.equal(type('\x7f\x7fx\r'), 'x');
  assert.equal(type('wrong\x15right\r'), 'right');
});

test('a character may come in pieces', () => {
  const line = new SecretLine();
  const [first, second] = Buffer.from('é');
  assert.equal(line.push(Uint8Array.of(first!)), false);
  assert.equal(line.push(Uint8Array.of(second!, 13)), true);
  assert.equal(line.take(), 'é');
});

test('Ctrl-C, Ctrl-D on an empty line, too long a line and foreign bytes are errors', () => {
  const fails = (code: string, action: () => unknown): void => {
    assert.throws(action, (error) => error instanceof SalvageError && error.code === code);
  };
  fails('interrupted', () => type('abc\x03'));
  fails('usage', () => type('\x04'));
  fails('failed', () => type('x'.repeat(4097)));
  const line = new SecretLine();
  line.push(Uint8Array.of(0xff, 13));
  fails('bad-key', () => line.take());
});
