import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const failing = `import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
suite('outer', () => {
  suite('inner', () => {
    test('passes', () => {});
    test('differs', () => assert.equal('found', 'wanted', 'the content'));
    test('is told by a subtest', async (t) => {
      await t.test('sub', () => {
        throw new Error('Cannot do it', { cause: new TypeError('as it is') });
      });
    });
  });
});
suite('hooked', () => {
  before(() => {
    throw new Error('no beginning');
  });
  test('is cancelled', () => {});
});
test('is long', () => assert.deepEqual(Array.from({ length: 100 }, (_, index) => index), ['x'.repeat(1000)]));
test('throws text', () => {
  throw 'text';
});
`;

test('each failed test is told in a few lines before the counts, and no suite for its tests', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'a.test.mjs'), failing);
  writeFileSync(join(folder, 'b.test.mjs'), 'process.exit(3);');
  writeFileSync(join(folder, 'c.test.mjs'), `import { test } from 'node:test'; test('well', () => {});`);
  const report = (...names: string[]): string => {
    const script = `import { run } from 'node:test';
      import { reportTests } from ${JSON.stringify(new URL('report-tests.ts', import.meta.url).href)};
      const files = ${JSON.stringify(names.map((name) => join(folder, name)))};
      for await (const text of reportTests(run({ files }))) process.stdout.write(text);`;
    writeFileSync(join(folder, 'run.mjs'), script);
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
    const { stdout, stderr } = spawnSync(process.execPath, ['run.mjs'], {
      cwd: folder,
      env,
      encoding: 'utf8',
    });
    assert.equal(stderr, '');
    return stdout;
  };

  const text = report('a.test.mjs', 'b.test.mjs', 'c.test.mjs');
  const [, end = ''] = text.split('\n✖ 7 failed:\n\n');
  const parts = end.trimEnd().split('\n\n');
  assert.deepEqual(parts.slice(0, 2), [
    `a.test.mjs:6 outer > inner > differs
  AssertionError: the content
  'found' !== 'wanted'
  expected: wanted
  actual: found`,
    `a.test.mjs:8 outer > inner > is told by a subtest > sub
  Error: Cannot do it
  cause: TypeError: as it is`,
  ]);
  assert.match(parts[2]!, /^a\.test\.mjs:\d+ hooked > is cancelled\n/);
  assert.match(parts[3]!, /^a\.test\.mjs:\d+ hooked\n {2}Error: no beginning$/);
  assert.match(parts[4]!, /^a\.test\.mjs:\d+ is long\n/);
  assert.ok(parts[4]!.length < 1000 && parts[4]!.split('\n').length <= 7, parts[4]);
  assert.match(parts[5]!, /^a\.test\.mjs:\d+ throws text\n {2}text$/);
  assert.match(parts[6]!, /^b\.test\.mjs:1 .*\n {2}test failed\n {2}exitCode: 3$/);
  assert.match(parts[7]!, /^ℹ tests \d+\n(?:ℹ \w+ [\d.]+\n)+ℹ duration_ms [\d.]+$/);
  assert.equal(text.match(/ℹ tests /g)?.length, 1);

  const well = report('c.test.mjs');
  assert.match(well, /✔ well .*\n(?:ℹ \w+ [\d.]+\n)+$/);
  assert.match(well, /ℹ tests 1\n/);
});
