import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { quoteShellWord } from './quote-shell-word.ts';

test('what is quoted is one word for sh, and the same text', () => {
  const words = [
    'plain',
    'a b',
    `it's`,
    '$HOME',
    '`id`',
    '',
    '*',
    'a\nb',
    '-x',
    '"',
    '\\',
    '~',
    'ä',
    '#',
    ';',
  ];
  const { stdout } = spawnSync('sh', ['-c', `printf '%s\\0' ${words.map(quoteShellWord).join(' ')}`]);
  assert.deepEqual(stdout.toString().split('\0').slice(0, -1), words);
});
