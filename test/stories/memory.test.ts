// What --memory promises: the whole process stays within it, however many threads are asked for.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { test } from 'node:test';
import { createSandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';

test('backup and restore stay within --memory, with few threads and with many', needsPeers, async (t) => {
  const box = createSandbox(t);
  mkdirSync(box.path('src'));
  // Nothing of it compresses or is there twice: every byte goes through packs.
  for (let index = 0; index < 4; index++) box.write(`src/large-${index}`, randomBytes(25_000_000));
  const small = randomBytes(8_000_000);
  for (let index = 0; index < 2000; index++)
    box.write(`src/small-${index}`, small.subarray(index * 4000, (index + 1) * 4000));
  const prepared = await box.shell(
    `salvage keygen -q -o key.txt; salvage keygen -y key.txt > recipients
     salvage init -q --repo repo -R recipients --name host > allowed`,
  );
  assert.equal(prepared.code, 0, prepared.stderr);
  const within = async (mebibytes: number, args: readonly string[]): Promise<void> => {
    const command = ['-f', '%M', '-o', 'peak', 'salvage', ...args, '--memory', `${mebibytes}M`];
    const { code, stderr } = await box.program('/usr/bin/time', [...command, '--threads', '8']);
    assert.equal(code, 0, stderr);
    const peak = Number(box.read('peak').toString()) / 1024;
    assert.ok(peak <= mebibytes, `${args[0]} took ${Math.round(peak)} MiB of ${mebibytes}`);
  };
  for (const mebibytes of [212, 400]) {
    // Everything is new to the next one.
    const again = await box.shell(
      `rm -rf repo .home/.config .home/.cache .home/.local; salvage init -q --repo repo -R recipients --name host > allowed`,
    );
    assert.equal(again.code, 0, again.stderr);
    await within(mebibytes, ['backup', '-q', '--repo', 'repo', 'src']);
  }
  for (const mebibytes of [158, 300]) {
    const reading = ['--repo', 'repo', '-i', 'key.txt', '--allowed-signers', 'allowed'];
    await within(mebibytes, ['restore', 'latest', '-q', ...reading, '--target', `out-${mebibytes}`]);
  }
  const { code, stderr } = await box.shell(
    'salvage restore latest --repo repo -i key.txt --allowed-signers allowed --target out --memory 100M',
  );
  assert.equal(code, 2);
  assert.match(
    stderr,
    /Cannot restore within 100 MiB of memory: it is too little\nhint: Allow at least --memory 158M/,
  );
});
