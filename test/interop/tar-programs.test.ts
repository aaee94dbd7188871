// GNU tar and bsdtar read what we seal, and we read what they pack, on a tree that has everything.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createSandbox, type Sandbox } from '../support/cli.ts';
import { describeTree, makeOddTree } from '../support/odd-tree.ts';
import { age13, needsPeers } from '../support/peers.ts';

describe('tar programs', needsPeers, () => {
  const cleanups: (() => void)[] = [];
  let sandbox: Sandbox;
  let original: string[];
  before(async () => {
    sandbox = createSandbox({ after: (clean: () => void) => cleanups.push(clean) } as never);
    await makeOddTree(sandbox, sandbox.path('tree'));
    original = await describeTree(sandbox, 'tree');
    await ok('ssh-keygen -q -t ed25519 -N "" -a 1 -f id');
  });
  after(() => cleanups.forEach((clean) => clean()));

  async function ok(script: string): Promise<string> {
    const { code, stdout, stderr } = await sandbox.shell(script);
    assert.equal(code, 0, `${script}\n${stderr}`);
    return stdout.toString() + stderr;
  }

  const readers = {
    'GNU tar': 'tar -xp --xattrs --xattrs-include="*" --acls --numeric-owner',
    bsdtar: 'bsdtar -xpS --xattrs --acls --numeric-owner',
  };
  for (const [name, command] of Object.entries(readers)) {
    for (const compression of ['none', 'gzip', 'zstd']) {
      test(`${name} restores what we seal with ${compression}`, async () => {
        const folder = `${name}-${compression}`.replace(' ', '-');
        const filter = { none: 'cat', gzip: 'gzip -dc', zstd: 'zstd -dc' }[compression];
        await ok(`salvage seal tree -R id.pub --compression ${compression} -o ${folder}.age
          mkdir ${folder}
          ${age13} -d -i id ${folder}.age | ${filter} | ${command} -C ${folder}`);
        assert.deepEqual(await describeTree(sandbox, `${folder}/tree`), original);
      });
    }
  }

  const writers = {
    'GNU tar, posix': 'tar -c --format=posix --sparse --xattrs --acls --numeric-owner tree | gzip',
    'GNU tar, posix, sparse 0.1':
      'tar -c --format=posix --sparse --sparse-version=0.1 --xattrs --acls tree | zstd -q',
    'GNU tar, posix, sparse 0.0':
      'tar -c --format=posix --sparse --sparse-version=0.0 --xattrs --acls tree | xz -0',
    'bsdtar, pax': 'bsdtar -c --format=pax --xattrs --acls --read-sparse tree | bzip2 -1',
  };
  for (const [name, command] of Object.entries(writers)) {
    test(`we restore what ${name} packs`, async () => {
      const folder = name.replaceAll(/[^a-zA-Z0-9]/g, '-');
      await ok(`${command} | ${age13} -R id.pub -o ${folder}.age
        salvage open ${folder}.age -i id -C ${folder} --allow-devices`);
      assert.deepEqual(await describeTree(sandbox, `${folder}/tree`), original);
    });
  }

  test('we restore what GNU tar packs in its own old format, as far as that goes', async () => {
    for (const format of ['gnu', 'oldgnu']) {
      await ok(`tar -c --format=${format} --sparse tree | ${age13} -R id.pub -o ${format}.age
        salvage open ${format}.age -i id -C ${format} --allow-devices
        mkdir expected-${format} && tar -c --format=${format} --sparse tree | tar -xp -C expected-${format}`);
      assert.deepEqual(
        await describeTree(sandbox, `${format}/tree`),
        await describeTree(sandbox, `expected-${format}/tree`),
      );
    }
  });

  test('we restore what we seal, and list it the same as GNU tar', async () => {
    await ok('salvage seal tree -R id.pub -o own.age && salvage open own.age -i id -C own --allow-devices');
    assert.deepEqual(await describeTree(sandbox, 'own/tree'), original);
    const ours = (await ok('salvage open own.age -i id --list --json'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { path: string; type: string })
      .map(({ path, type }) => path + (type === 'directory' ? '/' : ''));
    const theirs = await ok(
      `${age13} -d -i id own.age | zstd -dc | tar -t --null --quoting-style=literal --show-transformed-names`,
    );
    assert.equal(ours.join('\n'), theirs.trimEnd());
  });
});
