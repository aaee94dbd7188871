import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Refusal } from '../../storage/serve/messages.ts';
import { FolderLimits } from './folder-limits.ts';

test('a folder takes so many names, whether they are there or come now, and folders count too', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'salvage-limits-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(join(root, 'a'));
  writeFileSync(join(root, 'a', 'old'), '');
  const limits = new FolderLimits(root, 3);
  await limits.admit('a/1');
  await limits.admit('a/2');
  await assert.rejects(limits.admit('a/3'), Refusal);
  await limits.admit('a/old');
  await limits.admit('b/1');
  await limits.admit('c');
  await assert.rejects(limits.admit('d/e'), Refusal);
  writeFileSync(join(root, 'c'), '');
  await assert.rejects(new FolderLimits(root, 2).admit('e'), Refusal);
});
