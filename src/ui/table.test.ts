import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTable } from './table.ts';

test('spare columns go, the last one first, where the table would be too wide', () => {
  const columns = [
    { title: 'N', isSpare: true },
    { title: 'ID' },
    { title: 'TIME', isSpare: true },
    { title: 'SIZE' },
  ];
  const titles = (mostColumns?: number): string =>
    formatTable(columns, [['1', 'abc', '12:00', '5 B']], mostColumns).split('\n')[0]!;
  assert.equal(titles(), 'N  ID   TIME   SIZE');
  assert.equal(titles(19), 'N  ID   TIME   SIZE');
  assert.equal(titles(18), 'N  ID   SIZE');
  assert.equal(titles(11), 'ID   SIZE');
  assert.equal(titles(3), 'ID   SIZE');
});

test('columns are aligned by what they take on the screen, and cells are escaped', () => {
  const text = formatTable(
    [{ title: 'Name' }, { title: 'Size', align: 'right' }, { title: 'Note' }],
    [
      ['漢字', '1 B', ''],
      ['evil\x1b[2J', '12.3 MiB', 'x'],
    ],
  );
  assert.equal(
    text,
    ['Name             Size  Note', '漢字              1 B', 'evil\\x1b[2J  12.3 MiB  x', ''].join('\n'),
  );
});
