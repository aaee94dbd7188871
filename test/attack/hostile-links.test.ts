// Links that lead in circles, outside, or to what was there before; neighbours that plant them while the restore runs.
import assert from 'node:assert/strict';
import {
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { directoryLine, linkLine, restoreTree, storeLines, treeLine } from '../support/hostile-tree.ts';

const scratch = mkdtempSync(join(tmpdir(), 'salvage-links-'));
after(() => rmSync(scratch, { recursive: true, force: true }));
let count = 0;
const folder = (): string => join(scratch, String(count++));

test('symlinks in a circle are symlinks, and nobody walks them', async () => {
  const tree = await storeLines(folder(), [
    linkLine('a', 'symlink', 'b'),
    linkLine('b', 'symlink', 'a'),
    linkLine('c', 'symlink', '.'),
    linkLine('d', 'hardlink', 'a'),
  ]);
  const { lost, problems } = await restoreTree(tree);
  assert.deepEqual([lost, problems], [[], []]);
  assert.equal(readlinkSync(join(tree.target, 'a')), 'b');
  assert.equal(readlinkSync(join(tree.target, 'd')), 'b');
});

for (const [what, lines] of [
  ['to themselves', [linkLine('a', 'hardlink', 'a')]],
  ['in a circle', [linkLine('a', 'hardlink', 'b'), linkLine('b', 'hardlink', 'a')]],
  ['to a directory', [directoryLine('a'), linkLine('b', 'hardlink', 'a')]],
  ['to what is no entry', [linkLine('b', 'hardlink', 'etc/passwd')]],
] as const)
  test(`hard links ${what} are not made`, async () => {
    const tree = await storeLines(folder(), lines);
    const { lost, problems, outside } = await restoreTree(tree);
    assert.ok(lost.length + problems.length > 0);
    assert.deepEqual(outside, []);
    for (const name of readdirSync(tree.target))
      assert.ok(lstatSync(join(tree.target, name)).isDirectory(), name);
  });

test('a hard link to what comes later links to that, and to nothing that was there before', async () => {
  const tree = await storeLines(folder(), [linkLine('a', 'hardlink', 'b'), treeLine('b')]);
  mkdirSync(tree.target);
  const precious = join(tree.folder, 'outside', 'precious');
  writeFileSync(precious, 'as it was');
  linkSync(precious, join(tree.target, 'b'));
  await restoreTree(tree);
  assert.equal(readFileSync(precious, 'utf8'), 'as it was');
  assert.equal(lstatSync(precious).nlink, 1);
});

test('a symlink that was there before is replaced, not followed', async () => {
  const tree = await storeLines(folder(), [directoryLine('a'), treeLine('a/file'), treeLine('b')]);
  mkdirSync(tree.target);
  const outside = join(tree.folder, 'outside');
  writeFileSync(join(outside, 'precious'), 'as it was');
  symlinkSync(outside, join(tree.target, 'a'));
  symlinkSync(join(outside, 'precious'), join(tree.target, 'b'));
  await restoreTree(tree);
  assert.deepEqual(readdirSync(outside), ['precious']);
  assert.equal(readFileSync(join(outside, 'precious'), 'utf8'), 'as it was');
  assert.ok(lstatSync(join(tree.target, 'b')).isFile());
});

test('a file that has another name outside is replaced, not written into', async () => {
  const tree = await storeLines(folder(), [treeLine('b')]);
  mkdirSync(tree.target);
  const precious = join(tree.folder, 'outside', 'precious');
  writeFileSync(precious, 'as it was, and longer');
  linkSync(precious, join(tree.target, 'b'));
  await restoreTree(tree);
  assert.equal(readFileSync(precious, 'utf8'), 'as it was, and longer');
  assert.equal(readFileSync(join(tree.target, 'b'), 'utf8'), 'harmless');
});

test('directories are exchanged for symlinks while the restore runs', async () => {
  const names = Array.from({ length: 150 }, (_, index) => `d${String(index).padStart(4, '0')}`);
  const tree = await storeLines(
    folder(),
    names.flatMap((name) => [directoryLine(name), treeLine(`${name}/file`)]),
  );
  const outside = join(tree.folder, 'outside');
  mkdirSync(tree.target);
  const over = new AbortController();
  // Between any two steps of the restore, for as long as it takes.
  const neighbour = async (): Promise<void> => {
    while (!over.signal.aborted) {
      for (const name of names) {
        const path = join(tree.target, name);
        try {
          if (!lstatSync(path).isDirectory()) continue;
          rmSync(path, { recursive: true, force: true });
          symlinkSync(outside, path);
          break;
        } catch {
          // Not there yet, or the restore was faster.
        }
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  // Before the first step as well.
  symlinkSync(outside, join(tree.target, names[0]!));
  const busy = neighbour();
  await restoreTree(tree).finally(() => over.abort());
  await busy;
  assert.deepEqual(readdirSync(outside), []);
});
