// The keys of a repository change: who can read what before and after, and what stock tools make of it.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, renameSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { createSandbox, type RunResult, type Sandbox } from '../support/cli.ts';
import { age13Folder, needsPeers } from '../support/peers.ts';

const reading = ['--repo', 'repo', '--allowed-signers', 'allowed'];

/** `repo` of `host` for old.key with one snapshot of `src`; new.key is there. */
async function prepare(t: TestContext, keygen = 'salvage keygen'): Promise<Sandbox> {
  const box = createSandbox(t);
  await box.shell(`mkdir src
    ${keygen} -o old.key 2> old.txt && ${keygen} -o new.key 2> new.txt
    salvage keygen -y old.key > old.pub && salvage keygen -y new.key > new.pub
    head -c 700000 /dev/urandom > src/large; echo small > src/small
    salvage init -q --repo repo -R old.pub --name host > allowed
    salvage backup -q --repo repo src`);
  return box;
}

async function run(box: Sandbox, ...args: string[]): Promise<RunResult> {
  const result = await box.salvage(args);
  assert.equal(result.code, 0, result.stderr);
  return result;
}

function restore(box: Sandbox, key: string, target: string, snapshot = 'latest'): Promise<RunResult> {
  return box.salvage(['restore', ...reading, '-i', key, '--target', target, snapshot]);
}

async function rewrap(box: Sandbox, ...args: string[]): Promise<RunResult> {
  return await run(box, 'recipients', 'rewrap', ...reading, '-i', 'old.key', '-R', 'new.pub', ...args);
}

function packs(box: Sandbox): string[] {
  return readdirSync(box.path('repo', 'packs'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.age'),
  );
}

function listRestorer(box: Sandbox): void {
  const key = readFileSync(box.path('.home/.config/salvage/restorer-key.pub'), 'utf8');
  box.write('allowed', `${box.read('allowed').toString()}keeper namespaces="salvage-rewrap" ${key}`);
}

test('recipients are added and retired, and what comes then is for the new ones', async (t) => {
  const box = await prepare(t);
  const before = await run(box, 'recipients', 'list', '--repo', 'repo', '--json');
  const [old] = before.stdout
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { fingerprint: string });
  assert.equal((await box.salvage(['recipients', 'retire', '--repo', 'repo', old!.fingerprint])).code, 2);

  const added = await run(box, 'recipients', 'add', '--repo', 'repo', '-R', 'new.pub');
  assert.match(added.stderr, /What is stored from snapshot 2 on/);
  assert.match(added.stderr, /recipients rewrap --before 2/);
  await box.shell('echo more > src/more; salvage backup -q --repo repo src');
  const retired = await run(box, 'recipients', 'retire', '--repo', 'repo', old!.fingerprint.slice(0, 20));
  assert.match(retired.stderr, /Retired SHA256:/);
  await box.shell('echo most > src/most; salvage backup -q --repo repo src');

  const list = await run(box, 'recipients', 'list', '--repo', 'repo');
  const [, ...rows] = list.stdout.toString().trim().split('\n');
  assert.match(rows[0]!, /^SHA256:\S+ +X25519 +from 2 on +no +age1/);
  assert.match(rows[1]!, /^SHA256:\S+ +X25519 +1 to 2 +no +age1/);
  // What the second snapshot stored both can read, what the third stored only the new one.
  const { code } = await box.salvage(['cat', ...reading, '-i', 'old.key', '3', 'src/most']);
  assert.equal(code, 12);
  assert.equal(
    (await run(box, 'cat', ...reading, '-i', 'new.key', '3', 'src/most')).stdout.toString(),
    'most\n',
  );
  assert.equal(
    (await run(box, 'cat', ...reading, '-i', 'old.key', '2', 'src/more')).stdout.toString(),
    'more\n',
  );
  assert.equal((await box.salvage(['cat', ...reading, '-i', 'new.key', '1', 'src/small'])).code, 12);
});

test(
  'rewrapped, a repository opens with the new key, and goes on when the old objects are gone',
  needsPeers,
  async (t) => {
    const box = await prepare(t);
    await run(box, 'recipients', 'add', '--only', '--repo', 'repo', '-R', 'new.pub');
    await box.shell('echo more > src/more; salvage backup -q --repo repo src');
    assert.equal((await restore(box, 'new.key', 'out-before')).code, 1);
    const stored = packs(box);

    const dry = await rewrap(box, '--before', '2', '--dry-run');
    assert.match(dry.stderr, /Would rewrap 4 objects/);
    assert.deepEqual(packs(box), stored);
    const done = await rewrap(box, '--before', '2');
    assert.match(done.stderr, /Rewrapped 4 objects/);
    assert.match(done.stderr, /Whoever has copied one and holds such a key reads it for ever/);
    const again = await rewrap(box, '--before', '2', '--json');
    const summary = JSON.parse(again.stdout.toString()) as Record<string, unknown>;
    assert.equal(summary['objects'], 0);
    assert.equal(summary['already'], 4);

    // Nobody has said yet that the restorer's word counts.
    assert.equal((await restore(box, 'new.key', 'out-unlisted')).code, 1);
    listRestorer(box);
    const restored = await restore(box, 'new.key', 'out');
    assert.equal(restored.code, 0, restored.stderr);
    await box.shell('diff -r src out/src');
    const verified = await run(box, 'verify', ...reading, '--read-data', '-i', 'new.key');
    assert.match(verified.stderr, /Clean/);

    // A new copy takes the new objects along, and the records.
    await run(box, 'copy', 'repo', 'copied', '--allowed-signers', 'allowed');
    assert.match(
      (await run(box, 'verify', '--repo', 'copied', ...reading.slice(2), '-i', 'new.key')).stderr,
      /Clean/,
    );

    // What the old key opens goes: packs, index object and root.age of the first snapshot.
    await box.shell(`mkdir away
    for name in $(sed -n 's/^[0-9a-f]*  //p' repo/snapshots/00000001*/SHA256SUMS | grep '[.]age$'); do mv "repo/$name" away/; done`);
    await box.shell('rm -r out');
    const without = await restore(box, 'new.key', 'out');
    assert.equal(without.code, 0, without.stderr);
    await box.shell('diff -r src out/src');
    assert.match((await run(box, 'verify', ...reading, '-i', 'new.key')).stderr, /Clean/);
    assert.match((await run(box, 'ls', ...reading, '-i', 'new.key', '1', 'src')).stdout.toString(), /large/);
    await box.shell(`python3 repo/recover.py --repo repo -i new.key --target by-script "$(ls repo/snapshots | head -1)"
    test -s by-script/src/large && cmp by-script/src/large src/large
    python3 repo/recover.py --repo repo -i new.key --allowed-signers allowed --signer host --keeper keeper --target checked latest
    diff -r src checked/src`);
    const unlisted = await box.shell(
      '! python3 repo/recover.py --repo repo -i new.key --allowed-signers allowed --signer host --target refused "$(ls repo/snapshots | head -1)"',
    );
    assert.equal(unlisted.code, 0, unlisted.stderr);
    // A new object that is damaged or missing is found, and named.
    const [first] = packs(box);
    renameSync(box.path('repo', 'packs', first!), box.path('pack'));
    const missing = await box.salvage(['verify', ...reading]);
    assert.equal(missing.code, 13);
    assert.match(missing.stderr, /is missing\. Snapshot/);
  },
);

test('prune keeps what was rewrapped, and takes the old objects when told to', async (t) => {
  const box = await prepare(t);
  await run(box, 'recipients', 'add', '--only', '--repo', 'repo', '-R', 'new.pub');
  await rewrap(box);
  listRestorer(box);
  await box.shell('sleep 1.1; echo more > src/more; salvage backup -q --repo repo src');
  const keeper = ['prune', ...reading, '--grace', '0s'];
  const before = packs(box).length;
  await run(box, ...keeper);
  const kept = await run(box, ...keeper);
  assert.match(kept.stderr, /There is nothing to remove/);
  assert.equal(packs(box).length, before);
  assert.match((await run(box, ...keeper, '--rewrapped')).stderr, /Marked 3 objects/);
  // The host learns that they go, and stores anew what it still needs.
  await box.shell('echo most > src/most; salvage backup -q --repo repo src');
  assert.match((await run(box, ...keeper, '--rewrapped')).stderr, /Removed 3 objects/);
  const keys = box.read('.home/.config/salvage/keeper-key.pub').toString();
  box.write('allowed', `${box.read('allowed').toString()}keeper namespaces="salvage-keeper" ${keys}`);
  for (const snapshot of ['1', '3']) {
    const restored = await restore(box, 'new.key', `out-${snapshot}`, snapshot);
    assert.equal(restored.code, 0, restored.stderr);
  }
  await box.shell('diff -r src out-3/src');
  assert.match((await run(box, 'verify', ...reading, '--read-data', '-i', 'new.key')).stderr, /Clean/);
});

test('a post-quantum repository from end to end, and the label rule in words', needsPeers, async (t) => {
  const box = await prepare(t, 'salvage keygen --pq');
  await box.shell("ssh-keygen -q -t ed25519 -N '' -f id");
  const mixed = await box.salvage(['recipients', 'add', '--repo', 'repo', '-R', 'id.pub']);
  assert.equal(mixed.code, 1);
  assert.match(
    mixed.stderr,
    /a post-quantum repository cannot also list an SSH key: whoever breaks the weaker/,
  );
  const init = await box.salvage(['init', '--repo', 'other', '-R', 'id.pub', '-R', 'old.pub']);
  assert.match(init.stderr, /a post-quantum repository cannot also list an SSH key/);
  const list = await run(box, 'recipients', 'list', '--repo', 'repo');
  assert.match(list.stdout.toString(), /post-quantum hybrid +from 1 on +no/);

  const restored = await restore(box, 'old.key', 'out');
  assert.equal(restored.code, 0, restored.stderr);
  await box.shell('diff -r src out/src');
  await run(box, 'recipients', 'add', '--only', '--repo', 'repo', '-R', 'new.pub');
  await rewrap(box);
  const unchecked = await run(box, 'restore', '--repo', 'repo', '-i', 'new.key', '--target', 'new', '1');
  assert.match(unchecked.stderr, /signature .* was not checked/);
  await box.shell('diff -r src new/src');
  await box.shell(`PATH=${age13Folder}:$PATH
    python3 repo/recover.py --repo repo -i old.key --target by-old latest && diff -r src by-old/src
    python3 repo/recover.py --repo repo -i new.key --target by-new latest && diff -r src by-new/src`);
});

test('from classic to post-quantum recipients, all at once', async (t) => {
  const box = await prepare(t);
  await box.shell('salvage keygen --pq -o pq.key 2> pq.txt; salvage keygen -y pq.key > pq.pub');
  const added = await run(box, 'recipients', 'add', '--only', '--repo', 'repo', '-R', 'pq.pub');
  assert.match(added.stderr, /The index key of this host is a new one/);
  await box.shell('echo more > src/more; salvage backup -q --repo repo src');
  const done = await run(
    box,
    'recipients',
    'rewrap',
    ...reading,
    '-i',
    'old.key',
    '-R',
    'pq.pub',
    '--before',
    '2',
  );
  assert.match(done.stderr, /the host cannot read rewrapped index objects/);
  listRestorer(box);
  const restored = await restore(box, 'pq.key', 'out');
  assert.equal(restored.code, 0, restored.stderr);
  await box.shell('diff -r src out/src');
});

test('a signing key is handed over, and nobody believes it without being told', needsPeers, async (t) => {
  const box = await prepare(t);
  const rotated = await run(box, 'host', 'rotate-signing-key', '--repo', 'repo');
  const lines = rotated.stdout.toString();
  assert.match(
    lines,
    /^host namespaces="salvage-snapshot",valid-before="\d{14}Z" ssh-ed25519 \S+\nhost .*valid-after="\d{14}Z" ssh-ed25519 \S+\n$/,
  );
  await box.shell('echo more > src/more; salvage backup -q --repo repo src');
  const stranger = await box.salvage(['verify', ...reading]);
  assert.equal(stranger.code, 13);
  assert.match(stranger.stderr, /Cannot trust snapshot 00000002/);
  assert.match(stranger.stderr, /said that host signs with SHA256:\S+ from then on/);
  assert.match(
    stranger.stderr,
    /You list the old key for this host\. Whoever had stolen it could say the same/,
  );
  for (const line of lines.trim().split('\n')) assert.ok(stranger.stderr.includes(line), line);

  box.write('allowed', lines);
  assert.match((await run(box, 'verify', ...reading)).stderr, /Clean/);
  await box.shell(`for id in $(ls repo/snapshots); do
    time="$(echo $id | sed 's/^[0-9]*-\\(........\\)T\\(......\\)Z.*/\\1\\2Z/')"
    ssh-keygen -Y verify -O verify-time="$time" -f allowed -I host -n salvage-snapshot -s repo/snapshots/$id/SHA256SUMS.sig < repo/snapshots/$id/SHA256SUMS
  done`);
  // A hand-over by somebody whose key is not listed is told as what it is.
  box.write('allowed', lines.split('\n')[1]!.replace(/,valid-after="\w+"/, ''));
  const unknown = await box.salvage(['verify', ...reading]);
  assert.match(unknown.stderr, /You do not list the old key for this host, so this says nothing/);
});

test('a revoked key signs nothing that is believed, whenever it was', async (t) => {
  const box = await prepare(t);
  const key = box.read('.home/.config/salvage/signing-key.pub').toString();
  box.write('revoked', key);
  box.write('nobody', '# nobody yet\n');
  const flags = [...reading, '--revoked-signers'];
  assert.equal((await box.salvage(['verify', ...flags, 'nobody'])).code, 0);
  const verified = await box.salvage(['verify', ...flags, 'revoked']);
  assert.equal(verified.code, 13);
  assert.match(verified.stderr, /the key SHA256:\S+ is revoked/);
  const restored = await box.salvage([
    'restore',
    ...flags,
    'revoked',
    '-i',
    'old.key',
    '--target',
    'out',
    'latest',
  ]);
  assert.equal(restored.code, 13);
  const copied = await box.salvage([
    'copy',
    'repo',
    'copy',
    '--allowed-signers',
    'allowed',
    '--revoked-signers',
    'revoked',
  ]);
  assert.equal(copied.code, 13, copied.stderr);
  const nothing = await box.salvage([
    'restore',
    '--repo',
    'repo',
    '--revoked-signers',
    'revoked',
    '-i',
    'old.key',
    '--target',
    'out',
    'latest',
  ]);
  assert.equal(nothing.code, 2);
  assert.match(nothing.stderr, /nobody said whose signatures to trust/);
});
