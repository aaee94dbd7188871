// `salvage copy` as a user meets it: what it says, and how it ends.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { createSandbox, type RunResult, type Sandbox } from '../support/cli.ts';

describe('salvage copy', () => {
  const box: Sandbox = createSandbox({ after });
  const signers = ['--allowed-signers', 'allowed', '--signer', 'web-1'];
  const copy = (...args: string[]): Promise<RunResult> => box.salvage(['copy', ...args]);

  before(async () => {
    box.write('data/file', randomBytes(100_000));
    const { code, stderr } = await box.shell(`
      ssh-keygen -q -t ed25519 -N '' -f key
      salvage init --repo here -R key.pub --name web-1 > allowed
      salvage backup --repo here data
      echo more > data/more
      salvage backup --repo here data
      salvage init --repo other -R key.pub --name web-1 2>&1
    `);
    assert.equal(code, 0, stderr);
  });

  test('tells what it does as it does it; the copy is restored as it was', async () => {
    const { code, stdout, stderr } = await copy('here', 'there', ...signers, '--json');
    assert.deepEqual([code, stderr.replace(/^.*(?:copied|newest).*\n/gm, '')], [0, '']);
    const events = stdout.toString().trim().split('\n').map(parse);
    const names = events.map(({ event }) => event).filter((event) => event !== 'progress');
    assert.deepEqual(names, ['plan', 'snapshot', 'snapshot', 'summary']);
    const restore = ['restore', 'latest', '--repo', 'there', ...signers, '-i', 'key', '--target', 'restored'];
    assert.equal((await box.salvage(restore)).code, 0);
    assert.deepEqual(box.read('restored/data/file'), box.read('data/file'));
  });

  test('says that signatures were not checked by a list, and needs no identity', async () => {
    const { code, stderr } = await copy('here', 'unchecked');
    assert.equal(code, 0);
    assert.match(stderr, /warning: .*nobody said whose to trust/);
    const { code: refused, stderr: why } = await copy('here', 'unchecked', '-i', 'key');
    assert.equal(refused, 2);
    assert.match(why, /unknown option '-i'/);
  });

  for (const [what, args, code, message] of [
    ['an unknown snapshot', ['here', 'x', '--snapshot', '9'], 2, /Cannot select the snapshot "9"/],
    ['a share that is none', ['here', 'x', '--shard', '3/2'], 2, /Cannot use --shard 3\/2/],
    ['the same place', ['here', './here/'], 2, /to itself/],
    ['no repository', ['nowhere', 'x'], 10, /there is none/],
    ['a place that is taken', ['here', 'other'], 1, /it holds another repository/],
  ] as const)
    test(`ends with exit code ${code} for ${what}`, async () => {
      const result = await copy(...args, ...signers);
      assert.equal(result.code, code, result.stderr);
      assert.match(result.stderr, message);
    });

  test('ends with exit code 13 if the source is damaged, and copies the rest', async () => {
    const packsOf = (number: number): string[] => {
      const [list] = globSync(box.path(`here/snapshots/0000000${number}-*/SHA256SUMS`));
      return readFileSync(list!, 'utf8').match(/packs\/\S+/g)!;
    };
    const older = packsOf(1);
    const name = packsOf(2).find((pack) => !older.includes(pack))!;
    const path = box.path('here', name);
    const bytes = readFileSync(path);
    rmSync(path);
    bytes[100]! ^= 1;
    writeFileSync(path, bytes);
    const { code, stderr } = await copy('here', 'half', ...signers);
    assert.equal(code, 13, stderr);
    assert.match(stderr, new RegExp(`Cannot trust "${name}"`));
    assert.match(stderr, /Snapshot 00000002-.* is not copied/);
    assert.match(stderr, /1 snapshot copied/);
    // From a good copy the damaged source comes back.
    rmSync(path);
    assert.equal((await copy('there', 'here', '--repair', ...signers)).code, 0);
    assert.equal((await copy('here', 'half', ...signers)).code, 0);
    const { code: verified } = await box.salvage(['verify', '--repo', 'half', ...signers, '--read-data']);
    assert.equal(verified, 0);
  });
});

function parse(line: string): { readonly event: string } {
  return JSON.parse(line) as { readonly event: string };
}
