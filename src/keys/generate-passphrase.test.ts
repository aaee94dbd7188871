import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generatePassphrase } from './generate-passphrase.ts';

test('a generated passphrase has seven groups of four and never comes twice', () => {
  const made = new Set(Array.from({ length: 100 }, generatePassphrase));
  assert.equal(made.size, 100);
  for (const passphrase of made)
    assert.match(passphrase, /^([0-9a-hjkmnp-tv-z]{4}-){6}[0-9a-hjkmnp-tv-z]{4}$/);
});
