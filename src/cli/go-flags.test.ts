import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { rewriteGoFlags } from './go-flags.ts';

const program = new Command()
  .option('-r, --recipient <recipient>', '')
  .option('-a, --armor', '')
  .option('--pq', '')
  .option('-j <plugin>', '');

test('flags in the style of Go become flags in ours', () => {
  const table: [given: string[], rewritten: string[]][] = [
    [
      ['-recipient', 'x', 'in'],
      ['-r', 'x', 'in'],
    ],
    [
      ['--recipient', 'x'],
      ['-r', 'x'],
    ],
    [['-recipient=x=y'], ['-r', 'x=y']],
    [['-r=x'], ['-r', 'x']],
    [
      ['--r', 'x'],
      ['-r', 'x'],
    ],
    [['-r='], ['-r', '']],
    [
      ['-r', '-armor'],
      ['-r', '-armor'],
    ],
    [
      ['-pq', '-armor'],
      ['--pq', '-a'],
    ],
    [
      ['-a=true', '-a=T', '-a=1'],
      ['-a', '-a', '-a'],
    ],
    [['-a=false', '-armor=0'], []],
    [['-a=perhaps'], ['-a=perhaps']],
    [
      ['-j', 'yubikey'],
      ['-j', 'yubikey'],
    ],
    [
      ['--', '-recipient'],
      ['--', '-recipient'],
    ],
    [
      ['-', '-nonsense', '--nonsense=1', '-rx', ''],
      ['-', '-nonsense', '--nonsense=1', '-rx', ''],
    ],
    [['-r'], ['-r']],
    [['-r=two\nlines'], ['-r', 'two\nlines']],
  ];
  for (const [given, rewritten] of table) assert.deepEqual(rewriteGoFlags(program, given), rewritten);
});
