import assert from 'node:assert/strict';
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ExcludeRules } from './exclude-rules.ts';
import { measureSources } from './measure-sources.ts';
import { planRoots } from './source-roots.ts';

test('sources are measured as they will be read', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-measure-'));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'deep'));
  writeFileSync(join(folder, 'deep', 'a'), Buffer.alloc(100_000));
  writeFileSync(join(folder, 'left-out.tmp'), Buffer.alloc(7));
  linkSync(join(folder, 'deep', 'a'), join(folder, 'second name'));
  symlinkSync('nowhere', join(folder, 'link'));
  const roots = planRoots([folder]);
  assert.deepEqual(measureSources({ roots, excludes: new ExcludeRules(['*.tmp']) }), {
    bytes: 100_000,
    files: 3,
  });
  assert.deepEqual(measureSources({ roots }), { bytes: 100_007, files: 4 });
});
