// A repository that version 1 of the format made in November 2026, to be opened for ever. Never made anew: if this test
// fails, the code has broken what people have stored. Its identity is public and protects nothing.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';

const frozen = join(import.meta.dirname, 'repository-v1');
const repository = join(frozen, 'repository');
const list = `
find . -type d -printf '%p|%y|%m|%T@\\n' -o -printf '%p|%y|%m|%s|%T@|%n|%l\\n' | LC_ALL=C sort
find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
getfattr -n user.note nothing`;

test('the frozen repository verifies, with all its data and every blob', async (t) => {
  const { code, stderr } = await createSandbox(t).salvage([
    'verify',
    '--repo',
    repository,
    '--allowed-signers',
    join(frozen, 'allowed_signers'),
    '--signer',
    'frozen',
    '--read-data',
    '-i',
    identity(t),
  ]);
  assert.equal(code, 0, stderr);
});

for (const [who, command] of [
  ['salvage', `salvage restore latest -q --repo '${repository}' -i identity.txt --target out`],
  [
    'its own recover.py',
    `python3 '${repository}/recover.py' --repo '${repository}' -i identity.txt --target out latest`,
  ],
])
  test(`the frozen repository is restored by ${who}`, needsPeers, async (t) => {
    const box = createSandbox(t);
    const { code, stderr, stdout } = await box.shell(
      `install -m 600 '${frozen}/identity.txt' identity.txt\n${command} >&2\ncd out/tree\n${list}`,
    );
    assert.equal(code, 0, stderr);
    const { stdout: expected } = await box.shell(`cat '${frozen}/expected.txt'`);
    assert.equal(stdout.toString('latin1'), expected.toString('latin1'));
  });

/** Git does not keep the mode that a secret key must have. */
function identity(t: { after(callback: () => void): void }): string {
  const box = createSandbox(t);
  return box.write('identity.txt', readFileSync(join(frozen, 'identity.txt')), 0o600);
}
