import assert from 'node:assert/strict';
import { test } from 'node:test';
import { displayWidth, truncateToWidth } from './display-width.ts';

test('East Asian characters and emoji take two columns, combining marks none', () => {
  const table: [text: string, columns: number][] = [
    ['', 0],
    ['plain', 5],
    ['漢字', 4],
    ['한글', 4],
    ['e\u0301', 1],
    ['🙂', 2],
    ['ＡＢ', 4],
  ];
  for (const [text, columns] of table) assert.equal(displayWidth(text), columns, text);
});

test('a cut text never exceeds its columns nor splits a character', () => {
  assert.equal(truncateToWidth('plain', 3), 'pla');
  assert.equal(truncateToWidth('漢字', 3), '漢');
  assert.equal(truncateToWidth('🙂🙂', 2), '🙂');
  assert.equal(truncateToWidth('abc', 0), '');
  assert.equal(truncateToWidth('abc', -1), '');
});
