// A keeper with the real binary: what goes, what stays, what verify says of it, and what a backup makes of marks.
import assert from 'node:assert/strict';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { createSandbox, type RunResult, type Sandbox } from '../support/cli.ts';

/** A repository `repo` of `host`, with the keeper's key in the list, and empty `src`. */
async function prepare(t: TestContext): Promise<Sandbox> {
  const box = createSandbox(t);
  await box.shell(`mkdir src
    ssh-keygen -q -t ed25519 -N '' -f id
    ssh-keygen -q -t ed25519 -N '' -f keeper
    salvage init --repo repo -R id.pub --name host > allowed
    echo "backup-server namespaces=\\"salvage-keeper\\" $(cat keeper.pub)" >> allowed`);
  return box;
}

async function backUp(box: Sandbox, ...args: string[]): Promise<void> {
  const { code, stderr } = await box.salvage(['backup', '-q', '--repo', 'repo', 'src', ...args]);
  assert.equal(code, 0, stderr);
}

function keep(box: Sandbox, command: 'forget' | 'prune', ...args: string[]): Promise<RunResult> {
  return box.salvage([
    command,
    '--repo',
    'repo',
    '--allowed-signers',
    'allowed',
    '--signing-key',
    'keeper',
    ...args,
  ]);
}

async function verify(box: Sandbox, ...args: string[]): Promise<RunResult> {
  return await box.salvage([
    'verify',
    '--repo',
    'repo',
    '--allowed-signers',
    'allowed',
    '--read-data',
    ...args,
  ]);
}

function packs(box: Sandbox): string[] {
  return readdirSync(box.path('repo', 'packs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
}

test('forget shows what it does, refuses too much, and prune frees the room', async (t) => {
  const box = await prepare(t);
  for (let number = 1; number <= 4; number++) {
    box.write('src/file', Buffer.alloc(50_000, `content ${number} `));
    await backUp(box, ...(number === 1 ? ['--label', 'release=1.0'] : []));
  }
  const noRule = await keep(box, 'forget');
  assert.equal(noRule.code, 2);
  assert.match(noRule.stderr, /no rule says what to keep/);

  const dry = await keep(box, 'forget', '--keep-last', '1', '--keep-label', 'release', '-n');
  assert.equal(dry.code, 0, dry.stderr);
  const rows = dry.stdout.toString().trim().split('\n');
  assert.equal(rows.length, 5);
  assert.match(rows[1]!, /^ +1 .* release=1\.0 +label release$/);
  assert.match(rows[2]!, /^ +2 .* no: it goes$/);
  assert.match(rows[4]!, /^ +4 .* last$/);
  assert.match(dry.stderr, /Would forget 2 snapshots/);
  assert.ok(!readdirSync(box.path('repo')).includes('keeper'));

  const tooMuch = await keep(box, 'forget', '--keep-last', '1');
  assert.equal(tooMuch.code, 1);
  assert.match(tooMuch.stderr, /Cannot forget 3 of 4 snapshots: that is more than the 50 % allowed at once/);

  const json = await keep(box, 'forget', '--keep-last', '1', '--keep-label', 'release', '--json');
  assert.equal(json.code, 0, json.stderr);
  const decisions = json.stdout
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly sequence: number; readonly keep: boolean });
  assert.deepEqual(
    decisions.map(({ sequence, keep }) => [sequence, keep]),
    [
      [1, true],
      [2, false],
      [3, false],
      [4, true],
    ],
  );
  const left = readdirSync(box.path('repo', 'snapshots'), { recursive: true }).map(String);
  assert.equal(left.filter((name) => name.endsWith('SHA256SUMS')).length, 2);

  const before = packs(box).length;
  assert.equal((await keep(box, 'prune')).code, 0);
  assert.equal(packs(box).length, before);
  const waits = await keep(box, 'prune', '--json');
  const waiting = JSON.parse(waits.stdout.toString()) as { readonly waiting: { readonly objects: number } };
  assert.ok(waiting.waiting.objects > 0);
  const removes = await keep(box, 'prune', '--grace', '0s');
  assert.match(removes.stderr, /^Removed \d+ objects/m);
  assert.ok(packs(box).length < before);

  const clean = await verify(box, '-i', 'id');
  assert.equal(clean.code, 0, clean.stderr);
  assert.match(clean.stderr, /2 snapshots removed by the keeper, as its signed records say/);
  await box.shell(`for list in repo/snapshots/*/SHA256SUMS; do (cd repo && sha256sum --quiet -c "../$list"); done
    for record in repo/keeper/*.json; do
      ssh-keygen -Y verify -f allowed -I backup-server -n salvage-keeper -s "$record.sig" < "$record"
    done
    salvage restore --repo repo 1 -i id --allowed-signers allowed --target out
    cmp <(head -c 50000 < <(yes 'content 1 ' | tr -d '\\n')) "$(find out -name file)"`);

  // Without the keeper's line nothing explains the gap.
  await box.shell('grep -v salvage-keeper allowed > without');
  const unexplained = await box.salvage(['verify', '--repo', 'repo', '--allowed-signers', 'without']);
  assert.equal(unexplained.code, 13);
  assert.match(unexplained.stderr, /Snapshots number 2 to 3 are missing/);
  assert.match(unexplained.stderr, /nobody said which keeper to trust/);
});

test('a backup stores anew what is marked for removal', async (t) => {
  const box = await prepare(t);
  const content = Buffer.alloc(60_000, 'comes back ');
  writeFileSync(box.path('src', 'other'), 'stays');
  writeFileSync(box.path('src', 'file'), content);
  await backUp(box);
  rmSync(box.path('src', 'file'));
  await backUp(box);
  await keep(box, 'forget', '--keep-last', '1');
  await keep(box, 'prune');
  // The host knows the content from before, and where it lies; it must not rely on it.
  writeFileSync(box.path('src', 'file'), content);
  await backUp(box);
  const removed = await keep(box, 'prune', '--grace', '0s');
  assert.match(removed.stderr, /^Removed \d+ objects/m);
  const { code, stderr } = await verify(box, '-i', 'id');
  assert.equal(code, 0, stderr);
  await box.shell('salvage restore --repo repo latest -i id --allowed-signers allowed --target out');
  const [found] = readdirSync(box.path('out'), { recursive: true, withFileTypes: true }).filter(
    ({ name }) => name === 'file',
  );
  assert.ok(found);
});

test('a keeper makes itself a key, and goes on with another one when told of the old', async (t) => {
  const box = await prepare(t);
  for (const content of ['a', 'b', 'c']) {
    box.write('src/file', content);
    await backUp(box);
  }
  const own = ['--repo', 'repo', '--allowed-signers', 'allowed'];
  const first = await box.salvage(['forget', ...own, '--keep-last', '2']);
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stderr, /^keeper namespaces="salvage-keeper" ssh-ed25519 /m);
  const stranger = await keep(box, 'prune');
  assert.equal(stranger.code, 13);
  assert.match(stranger.stderr, /Cannot trust the keeper's record|this keeper's record number 1/);
  await box.shell(
    `sed -i '/salvage-keeper/d' allowed
    for key in .config/salvage/keeper-key.pub keeper.pub; do
      echo "keeper namespaces=\\"salvage-keeper\\" $(cat $HOME/$key 2>/dev/null || cat $key)" >> allowed
    done`,
    { env: {} },
  );
  const told = await keep(box, 'prune');
  assert.equal(told.code, 0, told.stderr);
  const { code, stderr } = await verify(box);
  assert.equal(code, 0, stderr);
});
