// Trees that announce or hold more than anybody has: terabytes, ranges that overlap, lists without end.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { previewRestore } from '../../src/operation/restore/preview.ts';
import { Selection } from '../../src/operation/restore/selection.ts';
import { harmlessBlob, harmlessDigest, restoreTree, storeLines, treeLine } from '../support/hostile-tree.ts';
import { openHandMade } from '../support/restore-hand-made.ts';

const scratch = mkdtempSync(join(tmpdir(), 'salvage-sizes-'));
after(() => rmSync(scratch, { recursive: true, force: true }));
let count = 0;
const folder = (): string => join(scratch, String(count++));

const tebibyte = 2 ** 40;
const range = [0, 0, harmlessBlob.length, harmlessDigest];

test('a file of terabytes that is all hole takes no room', async () => {
  const size = 4 * tebibyte;
  const hole = [[0, size - harmlessBlob.length]];
  const tree = await storeLines(folder(), [treeLine('a', { size, holes: hole })]);
  const { lost, problems } = await restoreTree(tree);
  // A file system with smaller limits says so, and that is all.
  if (lost.length + problems.length > 0) {
    assert.match([...lost, ...problems].join(), /a/);
    return;
  }
  const { size: found, blocks } = statSync(join(tree.target, 'a'));
  assert.equal(found, size);
  assert.ok(blocks < 2048);
});

test('terabytes that are announced and not there are not waited for, and leave nothing', async () => {
  const tree = await storeLines(folder(), [treeLine('a', { size: tebibyte }), treeLine('b')]);
  const { lost } = await restoreTree(tree);
  assert.equal(lost.length, 1);
  assert.deepEqual(readdirSync(tree.target), []);
});

test('one blob a thousand times is announced as what it comes to', async () => {
  const content = Array.from({ length: 1024 }, () => range);
  const size = content.length * harmlessBlob.length;
  const tree = await storeLines(
    folder(),
    Array.from({ length: 8 }, (_, index) => treeLine(`f${index}`, { size, content })),
  );
  const { snapshot } = await openHandMade(tree.repository, tree.id);
  const options = { target: tree.target, selection: new Selection({}), overwrite: 'always' } as const;
  const { bytes, made } = await previewRestore(snapshot, options, async () => {});
  const { summary } = await restoreTree(tree);
  assert.deepEqual([made, bytes], [8, 8 * size]);
  const written = readdirSync(tree.target).reduce(
    (sum, name) => sum + statSync(join(tree.target, name)).size,
    0,
  );
  assert.equal(written, bytes, JSON.stringify(summary));
});

for (const [what, more] of [
  [
    'more ranges than a line may have',
    { size: 8 * 1025, content: Array.from({ length: 1025 }, () => range) },
  ],
  ['a range of more than a blob may have', { size: 2 ** 23, content: [[0, 0, 2 ** 23, harmlessDigest]] }],
  ['a range of no bytes', { size: 0, content: [[0, 0, 0, harmlessDigest]] }],
  ['a size beyond all numbers', { size: 2 ** 60 }],
  ['a size that is a fraction', { size: 8.5 }],
  ['a negative size', { size: -8 }],
  ['holes that reach beyond the file', { size: 100, holes: [[50, 100]] }],
  [
    'a hole that begins where the one before it ends',
    {
      size: 108,
      holes: [
        [0, 50],
        [50, 50],
      ],
    },
  ],
  ['a time beyond all calendars', { mtime: `${'9'.repeat(30)}.000000000` }],
  ['an attribute of a hostile name', { xattrs: { '': 'AA==' } }],
] as const)
  test(`${what} is refused`, async () => {
    const tree = await storeLines(folder(), [treeLine('a', more)]);
    const { lost, problems } = await restoreTree(tree);
    assert.ok(lost.length + problems.length > 0);
    assert.deepEqual(readdirSync(tree.target), []);
  });

test('a range that overlaps others is no way to bytes that the tree does not name', async () => {
  const part = harmlessBlob.subarray(2, 6);
  const digest = createHash('sha256').update(part).digest('base64url');
  const tree = await storeLines(folder(), [
    treeLine('a', { size: 12, content: [range, [0, 2, 4, digest]] }),
    treeLine('b', { size: 8, content: [[0, 4, 8, harmlessDigest]] }),
  ]);
  const { lost } = await restoreTree(tree);
  // What lies in the raw stream may be named twice; what reaches beyond it is lost.
  assert.match(lost.join(), /b/);
  assert.ok(!readdirSync(tree.target).includes('b'));
});
