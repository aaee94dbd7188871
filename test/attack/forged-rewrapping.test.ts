// Records that say what stands for an object: by somebody who may not, by somebody who may sign other records only, and
// where nobody checks. None of them puts another content in the place of what the host signed.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { after, before, beforeEach, test } from 'node:test';
import { createSandbox } from '../support/cli.ts';

const reading = ['--repo', 'repo', '--allowed-signers', 'allowed'];

const box = createSandbox({ after });

/** Two snapshots, each with a content pack of its own. */
before(async () => {
  const { code, stderr } = await box.shell(`mkdir src
    salvage keygen -o key 2> public; salvage keygen -y key > key.pub
    ssh-keygen -q -t ed25519 -N '' -f keeper; ssh-keygen -q -t ed25519 -N '' -f stranger
    salvage init -q --repo pristine -R key.pub --name host > allowed
    echo "keeper namespaces=\\"salvage-keeper\\" $(cat keeper.pub)" >> allowed
    head -c 90000 /dev/urandom > src/first; salvage backup -q --repo pristine src
    head -c 90000 /dev/urandom > src/second; salvage backup -q --repo pristine src`);
  assert.equal(code, 0, stderr);
});

beforeEach(async () => {
  const { code, stderr } = await box.shell('rm -rf repo out by-script; cp -r pristine repo');
  assert.equal(code, 0, stderr);
});

function listed(number: number, name: RegExp): string[] {
  const id = readdirSync(box.path('repo/snapshots')).sort()[number - 1]!;
  const lines = box.read(`repo/snapshots/${id}/SHA256SUMS`).toString().trim().split('\n');
  return lines.filter((line) => name.test(line.slice(66))).map((line) => line.slice(0, 64));
}

/** Stores a record that maps `from` to `to`, signed by the key. */
async function record(
  key: string,
  namespace: string,
  pairs: readonly (readonly [string, string])[],
): Promise<void> {
  const { id } = JSON.parse(box.read('repo/repository.json').toString()) as { id: string };
  const document = {
    format: 'salvage-keeper',
    version: 1,
    repository: id,
    number: 1,
    time: '2026-11-23T12:00:00.000Z',
    previous: null,
    open: [],
    action: 'rewrapped',
    recipients: '0'.repeat(32),
    objects: pairs,
  };
  const path = 'repo/keeper/00000001-20261123T120000Z.json';
  box.write(path, `${JSON.stringify(document)}\n`);
  const signed = await box.shell(`ssh-keygen -q -Y sign -f ${key} -n ${namespace} ${path}`);
  assert.equal(signed.code, 0, signed.stderr);
}

/** Takes a pack away, and has the record say that another one, with other content, stands for it. */
async function replaceFirstPack(key: string, namespace: string): Promise<void> {
  const before = listed(1, /^packs/);
  const [other] = listed(2, /^packs/).filter((digest) => !before.includes(digest));
  await record(
    key,
    namespace,
    before.map((digest) => [digest, other!] as const),
  );
  for (const digest of before) await box.shell(`rm repo/packs/${digest.slice(0, 2)}/${digest}.age`);
}

for (const [who, key, namespace] of [
  ['a stranger', 'stranger', 'salvage-rewrap'],
  ['a keeper who may not sign that', 'keeper', 'salvage-rewrap'],
  ['a keeper in the name of its own role', 'keeper', 'salvage-keeper'],
] as const)
  test(`a record by ${who} is not followed`, async () => {
    const root = listed(1, /root\.age$/)[0]!;
    // The root of the other snapshot, at the place where a rewrapped one would lie.
    const id = readdirSync(box.path('repo/snapshots')).sort();
    const other = box.read(`repo/snapshots/${id[1]!}/root.age`);
    const digest = createHash('sha256').update(other).digest('hex');
    box.write(`repo/packs/${digest.slice(0, 2)}/${digest}.age`, other);
    await record(key, namespace, [[root, digest]]);
    await box.shell(`rm repo/snapshots/${id[0]!}/root.age`);
    const restored = await box.salvage(['restore', ...reading, '-i', 'key', '--target', 'out', id[0]!]);
    assert.equal(restored.code, 13, restored.stderr);
    assert.match(restored.stderr, /root\.age": it is missing/);
    const verified = await box.salvage(['verify', ...reading]);
    assert.equal(verified.code, 13);
    assert.match(verified.stderr, /record/);
    const script = await box.shell(
      `! python3 repo/recover.py --repo repo -i key --allowed-signers allowed --signer host --keeper keeper --target by-script ${id[0]!}`,
    );
    assert.equal(script.code, 0, script.stderr);
  });

test('where nobody checks signatures, another content is still no replacement', async () => {
  await replaceFirstPack('stranger', 'salvage-rewrap');
  const restored = await box.salvage(['restore', '--repo', 'repo', '-i', 'key', '--target', 'out', 'latest']);
  assert.notEqual(restored.code, 0);
  const script = await box.shell(
    'python3 repo/recover.py --repo repo -i key --target by-script latest || echo "exit $?"',
  );
  assert.match(script.stdout.toString(), /exit [13]/);
  await box.shell('if test -s out/src/first; then cmp out/src/first src/first; fi');
});

test('a record whose new object is one that nobody can use is passed over', async () => {
  const [digest] = listed(1, /^packs/);
  box.write(`repo/packs/00/${'0'.repeat(64)}.age`, 'nothing');
  await record('stranger', 'salvage-rewrap', [[digest!, '0'.repeat(64)]]);
  const restored = await box.salvage(['restore', '--repo', 'repo', '-i', 'key', '--target', 'out', 'latest']);
  assert.equal(restored.code, 0, restored.stderr);
  const same = await box.shell('diff -r src out/src');
  assert.equal(same.code, 0);
});
