import assert from 'node:assert/strict';
import { test } from 'node:test';
import { suggestCommand } from './help.ts';

test('a command is suggested for its beginning and for up to two typing errors, else none', () => {
  const table: [typed: string, suggestion: string | undefined][] = [
    ['enc', 'encrypt'],
    ['encrpyt', 'encrypt'],
    ['decyrpt', 'decrypt'],
    ['dcrypt', 'decrypt'],
    ['inspekt', 'inspect'],
    ['kyegn', 'keygen'],
    ['e', undefined],
    ['', undefined],
    ['xy', undefined],
    ['restaurant', undefined],
  ];
  for (const [typed, suggestion] of table) assert.equal(suggestCommand(typed), suggestion, typed);
});
