import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTable } from './table.ts';

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
