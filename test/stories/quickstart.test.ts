import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkoutSalvage, createSandbox } from '../support/cli.ts';

test('quickstart makes what is missing, proves a restore, and changes no key the second time', async (t) => {
  const box = createSandbox(t);
  const data = join(box.folder, 'data');
  mkdirSync(join(data, 'deep'), { recursive: true });
  writeFileSync(join(data, 'deep', 'file'), 'precious');
  symlinkSync('deep/file', join(data, 'link'));
  const config = join(box.path('.home'), '.config', 'salvage');
  const keyFiles = ['signing-key', 'signing-key.pub', 'identity.txt', 'recipients.txt', 'allowed_signers'];

  // By the launcher of the checkout, as the README has it.
  const first = await box.program(checkoutSalvage, ['quickstart', data]);
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stderr, /compared: 4 things, 8 B, all as they were/);
  assert.match(first.stderr, /The identity belongs on another machine/);
  for (const name of ['signing-key', 'identity.txt'])
    assert.equal(statSync(join(config, name)).mode & 0o777, 0o600);
  const before = keyFiles.map((name) => readFileSync(join(config, name), 'utf8'));

  const second = await box.salvage(['quickstart', data]);
  assert.equal(second.code, 0, second.stderr);
  assert.doesNotMatch(second.stderr, /^Made /m);
  assert.deepEqual(
    keyFiles.map((name) => readFileSync(join(config, name), 'utf8')),
    before,
  );
  const repository = join(box.path('.home'), '.local', 'share', 'salvage', 'repository');
  assert.equal(readdirSync(join(repository, 'snapshots')).length, 2);

  // The three commands that it names are ones that work.
  const named = [...second.stderr.matchAll(/^ {2}\S*salvage (.*)$/gm)].map(([, line]) => line!.split(' '));
  assert.deepEqual(
    named.map(([command]) => command),
    ['snapshots', 'backup', 'restore'],
  );
  for (const line of named) {
    const { code, stderr } = await box.salvage(line);
    assert.equal(code, 0, stderr);
  }
  assert.equal(readFileSync(join(box.folder, 'restored', data, 'deep', 'file'), 'utf8'), 'precious');

  // Moved away, as it said: the proof is no longer possible here, and no new identity takes its place.
  renameSync(join(config, 'identity.txt'), join(box.folder, 'elsewhere'));
  const third = await box.salvage(['quickstart', data]);
  assert.equal(third.code, 1);
  assert.match(third.stderr, /no longer here/);
  assert.ok(!readdirSync(config).includes('identity.txt'));
});

test('quickstart refuses what it cannot back up whole', async (t) => {
  const box = createSandbox(t);
  mkdirSync(box.path('.home'), { recursive: true });
  chmodSync(box.path('.home'), 0o700);
  const home = await box.salvage(['quickstart', box.path('.home')]);
  assert.equal(home.code, 2);
  assert.match(home.stderr, /salvage itself writes below it/);
  const missing = await box.salvage(['quickstart', join(box.folder, 'missing')]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /missing": no such file or directory/i);
});
