// The recipe: tar | age on the server, an SSH key with a passphrase on the backup machine. On one side nothing of ours.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createSandbox, type Sandbox } from '../support/cli.ts';
import { describeTree, makeOddTree } from '../support/odd-tree.ts';
import { age11, age13, needsPeers } from '../support/peers.ts';
import { runOnTerminal } from '../support/terminal.ts';

describe('the recipe', needsPeers, () => {
  const cleanups: (() => void)[] = [];
  let box: Sandbox;
  let original: string[];
  before(async () => {
    box = createSandbox({ after: (clean: () => void) => cleanups.push(clean) } as never);
    await makeOddTree(box, box.path('data'));
    original = await describeTree(box, 'data', ['mode', 'owner']);
    const { code, stderr } = await box.shell(
      'ssh-keygen -q -t ed25519 -a 256 -N "correct horse" -f id_ed25519',
    );
    assert.equal(code, 0, stderr);
  });
  after(() => cleanups.forEach((clean) => clean()));

  for (const [name, age] of Object.entries({ 'age 1.1': age11, 'age 1.3': age13 })) {
    test(`tar zc | ${name} -R, opened by salvage, which asks for the passphrase`, async () => {
      const folder = name.replace(' ', '-');
      const made = await box.shell(`tar -zc data | ${age} -R id_ed25519.pub > host-${folder}.tar.gz.age`);
      assert.equal(made.code, 0, made.stderr);
      const opened = await runOnTerminal(
        box,
        `salvage open host-${folder}.tar.gz.age -i id_ed25519 -C ${folder} --allow-devices`,
        'expect "passphrase"; send "correct horse\\r"',
      );
      assert.equal(opened.code, 0, opened.screen);
      assert.match(opened.screen, /Restored \d+ members/);
      assert.deepEqual(
        withoutHoles(await describeTree(box, `${folder}/data`, ['mode', 'owner'])),
        withoutHoles(original),
      );
    });
  }

  test('salvage seal -R, opened by age -d | tar xz, which asks for the passphrase', async () => {
    const sealed = await box.salvage([
      'seal',
      'data',
      '-R',
      'id_ed25519.pub',
      '--compression',
      'gzip',
      '-o',
      's.age',
    ]);
    assert.equal(sealed.code, 0, sealed.stderr);
    const opened = await runOnTerminal(
      box,
      `/bin/bash -o pipefail -c 'mkdir theirs && ${age13} -d -i id_ed25519 s.age | tar -xzp -C theirs'`,
      'expect "passphrase"; send "correct horse\\r"',
    );
    assert.equal(opened.code, 0, opened.screen);
    assert.deepEqual(await describeTree(box, 'theirs/data', ['mode', 'owner']), original);
  });

  /** A tar without --sparse fills the holes. */
  function withoutHoles(lines: string[]): string[] {
    return lines.map((line) => line.replace(/ sparse$/, ' full'));
  }
});
