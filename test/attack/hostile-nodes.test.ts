// Devices, pipes, sockets, and programs that run as root: nothing of it comes into being unasked.
import assert from 'node:assert/strict';
import { lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { restoreTree, storeLines, treeLine } from '../support/hostile-tree.ts';

const scratch = mkdtempSync(join(tmpdir(), 'salvage-nodes-'));
after(() => rmSync(scratch, { recursive: true, force: true }));
let count = 0;
const folder = (): string => join(scratch, String(count++));

const node = (path: string, type: string, more: object = {}): string =>
  treeLine(path, { type, size: undefined, content: undefined, mode: 0o666, ...more });

test('devices are made only when they are asked for', async () => {
  const tree = await storeLines(folder(), [
    node('disk', 'block-device', { device: [8, 0] }),
    node('kmsg', 'character-device', { device: [1, 11] }),
    treeLine('z'),
  ]);
  const { lost, problems } = await restoreTree(tree, { allowDevices: false });
  assert.equal(lost.length + problems.length, 2);
  assert.deepEqual(readdirSync(tree.target), ['z']);
});

for (const [what, device] of [
  ['no numbers', undefined],
  ['one number', [1]],
  ['numbers beyond all devices', [2 ** 40, 1]],
  ['negative numbers', [-1, 3]],
] as const)
  test(`a device with ${what} is refused`, async () => {
    const tree = await storeLines(folder(), [node('disk', 'block-device', { device })]);
    const { lost, problems } = await restoreTree(tree, { allowDevices: true });
    assert.ok(lost.length + problems.length > 0);
    assert.deepEqual(readdirSync(tree.target), []);
  });

test('a file that runs as its owner does so only for an owner who may say so', async () => {
  const tree = await storeLines(folder(), [
    treeLine('other', { mode: 0o4755, uid: 4_000_000_000, gid: 4_000_000_000 }),
  ]);
  await restoreTree(tree);
  const { mode, uid } = lstatSync(join(tree.target, 'other'));
  // Only root can give a file away; for anybody else the bits are gone.
  assert.ok(uid === 4_000_000_000 || (mode & 0o6000) === 0);
});

for (const type of ['fifo', 'socket', 'file', 'directory'])
  test(`a ${type} with a target, numbers of a device or content that is not its own is refused`, async () => {
    for (const more of [
      { target: '/etc/passwd' },
      { device: [1, 3] },
      ...(type === 'file' ? [] : [{ size: 5 }]),
    ]) {
      const tree = await storeLines(folder(), [
        type === 'file' ? treeLine('a', more) : node('a', type, { mode: 0o755, ...more }),
      ]);
      const { lost } = await restoreTree(tree);
      assert.equal(lost.length, 1, JSON.stringify(more));
      assert.deepEqual(readdirSync(tree.target), []);
    }
  });
