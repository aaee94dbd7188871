import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matchesPatternList } from './pattern-list.ts';

test('pattern lists match as ssh_config(5) says', () => {
  const table: [text: string, list: string, matches: boolean][] = [
    ['web-1', 'web-1', true],
    ['web-1', 'WEB-1', false],
    ['web-1', 'web-2,web-1', true],
    ['web-1', 'web-?', true],
    ['web-12', 'web-?', false],
    ['web-1', '*', true],
    ['', '*', true],
    ['', '', true],
    ['web-1', '', false],
    ['web-1', 'w*1', true],
    ['web-1', '*-*-*', false],
    ['a-b-c', '*-*-*', true],
    ['web-1', '*,!web-1', false],
    ['web-1', '!web-1,*', false],
    ['web-2', '!web-1,*', true],
    ['web-2', '!web-1', false],
    ['web.1', 'web[.]1', false],
  ];
  for (const [text, list, matches] of table)
    assert.equal(matchesPatternList(text, list), matches, `${text} against ${list}`);
});

test('a hostile pattern takes no exponential time', () => {
  assert.equal(matchesPatternList('a'.repeat(2000), `${'*a'.repeat(1000)}b`), false);
});
