// SECURITY.md is true: each test that it names is there, and each attack is named.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..', '..');
const text = readFileSync(join(root, 'SECURITY.md'), 'utf8');

test('every test that SECURITY.md links is there', () => {
  const linked = [...text.matchAll(/\]\(((?:test|src|docs)\/[^)]+)\)/g)].map(([, path]) => path!);
  assert.ok(linked.length > 20);
  for (const path of linked) assert.ok(existsSync(join(root, path)), path);
});

test('every attack is linked from SECURITY.md', () => {
  for (const name of readdirSync(import.meta.dirname))
    if (name.endsWith('.test.ts') && name !== 'threat-model.test.ts')
      assert.ok(text.includes(`(test/attack/${name})`), `${name} belongs to a sentence of SECURITY.md`);
});
