import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { SalvageError } from '../errors/salvage-error.ts';
import { parseShellWords } from './shell-words.ts';

for (const [line, expected] of [
  ['ssh', ['ssh']],
  ['  ssh\t-F  config ', ['ssh', '-F', 'config']],
  [`ssh -F 'my config'`, ['ssh', '-F', 'my config']],
  [`ssh -o "ProxyCommand nc \\"x\\" %h"`, ['ssh', '-o', 'ProxyCommand nc "x" %h']],
  [`a\\ b c'd'"e"f ''`, ['a b', 'cdef', '']],
  [`a "\\$x" '$y;|'`, ['a', '$x', '$y;|']],
] as const)
  test(`the words of ${line}`, () => assert.deepEqual(parseShellWords(line, 'the test'), expected));

test('what no program can be run from, or only a shell could run, is refused', () => {
  for (const line of [
    '',
    '  ',
    `''`,
    `ssh 'x`,
    'ssh "x',
    'ssh x\\',
    'ssh $X',
    'ssh "$X"',
    'a `b`',
    'a; b',
    'a|b',
    'a >b',
  ])
    assert.throws(
      () => parseShellWords(line, 'the test'),
      (error) => error instanceof SalvageError && error.code === 'usage',
      line,
    );
});

test('words in single quotes come back as they were', () => {
  fc.assert(
    fc.property(fc.array(fc.string().filter((word) => !word.includes('\0'))), (words) => {
      const line = ['x', ...words].map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
      assert.deepEqual(parseShellWords(line, 'the test'), ['x', ...words]);
    }),
  );
});
