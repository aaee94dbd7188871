// An auditor finds a damaged pack and asks for healing; the host, which has no key to read with, stores its content anew.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createSandbox, type RunResult, type Sandbox } from '../support/cli.ts';

function largestPack(box: Sandbox): string {
  const packs = readdirSync(box.path('r', 'packs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return packs.sort((a, b) => statSync(b).size - statSync(a).size)[0]!;
}

function damage(box: Sandbox, path: string): void {
  const bytes = box.read(path.slice(box.path().length + 1));
  bytes[bytes.length >>> 1]! ^= 1;
  writeFileSync(path, bytes);
}

/** Three files in one pack; since then one has changed and one is gone. */
async function prepare(t: TestContext): Promise<Sandbox> {
  const box = createSandbox(t);
  for (const name of ['kept', 'touched', 'lost']) box.write(`data/${name}`, randomBytes(300_000));
  await box.shell(`ssh-keygen -q -t ed25519 -N '' -f id
    ssh-keygen -q -t ed25519 -N '' -f auditor
    salvage init --repo r -R id.pub --name web > allowed
    salvage backup -q --repo r data
    echo more >> data/touched; rm data/lost`);
  return box;
}

const verify = (box: Sandbox, ...args: string[]): Promise<RunResult> =>
  box.salvage(['verify', '--repo', 'r', '--allowed-signers', 'allowed', ...args]);

test('what is damaged is asked for, stored anew, and good in new snapshots and in old ones', async (t) => {
  const box = await prepare(t);
  await box.shell('salvage backup -q --repo r data');
  damage(box, largestPack(box));

  const found = await verify(box, '--read-data', '--request-healing', '--signing-key', 'auditor');
  assert.equal(found.code, 13, found.stderr);
  assert.match(found.stderr, /Wrote a signed request for healing of 1 pack: "healing\/[^"]+\.json"/);
  await box.shell(`echo "auditor $(cat auditor.pub)" > auditors
    ssh-keygen -Y verify -f auditors -I auditor -n salvage-healing -s r/healing/*.sig < r/healing/*.json`);

  const untrusting = await box.salvage(['backup', '--repo', 'r', 'data']);
  assert.doesNotMatch(untrusting.stderr, /[Hh]ealed/);
  await box.shell('salvage auditors add auditor.pub --repo r');
  const listed = await box.salvage(['auditors', 'list', '--repo', 'r']);
  assert.match(listed.stdout.toString(), /^SHA256:\S+ ssh-ed25519 \S+\n$/);

  const healed = await box.salvage(['backup', '--repo', 'r', 'data', '--json']);
  assert.equal(healed.code, 0, healed.stderr);
  assert.match(
    healed.stderr,
    /Healed what an auditor asked for: 1 pack, \d+ KiB of their content stored anew/,
  );
  assert.match(healed.stderr, /\d+ KiB can no longer be healed/);
  const summary = JSON.parse(healed.stdout.toString().trim().split('\n').at(-1)!) as {
    healing: Record<string, number>;
  };
  assert.equal(summary.healing['packs'], 1);
  assert.equal(summary.healing['bytesHealed']! + summary.healing['bytesLost']!, 900_000);

  const after = await verify(box, '--read-data');
  assert.equal(after.code, 13);
  assert.match(
    after.stderr,
    /The newest snapshot, 00000004-\S+, needs nothing of what is damaged\. These do: 00000001/,
  );
  const newest = await box.salvage([
    'restore',
    'latest',
    'data',
    '--repo',
    'r',
    '-i',
    'id',
    '--target',
    'new',
  ]);
  assert.equal(newest.code, 0, newest.stderr);

  const old = await box.salvage(['restore', '1', 'data', '--repo', 'r', '-i', 'id', '--target', 'old']);
  assert.equal(old.code, 13);
  assert.match(old.stderr, /Cannot restore "data\/lost"/);
  // The script in the repository does not look for what was healed, and says who does.
  const script = await box.shell(
    'python3 r/recover.py --repo r -i id --target script "$(ls r/snapshots | head -n 1)" || echo "exit $?"',
  );
  assert.match(script.stdout.toString(), /exit 3/);
  assert.match(script.stderr, /packs\/\S+ is damaged: its SHA-256 is not the one that was signed/);
  assert.match(script.stderr, /stored anew of damaged packs is found by: salvage restore/);
  assert.equal(
    (old.stderr.match(/Cannot restore "/g) ?? []).length,
    2,
    'what the host does not have any more',
  );
  await box.shell('cmp $(find old -name kept) data/kept');
  const shown = await box.salvage(['cat', '1', 'data/kept', '--repo', 'r', '-i', 'id']);
  assert.deepEqual(shown.stdout, box.read('data/kept'));

  const quiet = await box.salvage(['backup', '--repo', 'r', 'data']);
  assert.match(quiet.stderr, /read 0 B/);
  assert.doesNotMatch(quiet.stderr, /[Hh]ealed/);
});

test('a request is carried by hand where an auditor may not write, and nothing is asked for if nothing is damaged', async (t) => {
  const box = await prepare(t);
  const none = await verify(box, '--read-data', '--request-healing');
  assert.equal(none.code, 0, none.stderr);
  assert.match(none.stderr, /Nothing is asked for/);
  const pack = largestPack(box);
  await box.shell(`rm ${pack}`);
  const found = await verify(box, '--request-healing', 'carried', '--json');
  assert.equal(found.code, 13, found.stderr);
  assert.match(found.stdout.toString(), /"requests":\["healing\//);
  assert.equal(existsSync(box.path('r', 'healing')), false);
  await box.shell(`cp -r carried/healing r/
    salvage auditors add "$XDG_CONFIG_HOME/salvage/auditor-key.pub" --repo r
    salvage backup -q --repo r data
    salvage auditors remove "$XDG_CONFIG_HOME/salvage/auditor-key.pub" --repo r`);
  const again = await box.salvage(['auditors', 'remove', 'auditor.pub', '--repo', 'r']);
  assert.equal(again.code, 2);
  const newest = await box.salvage([
    'restore',
    'latest',
    'data',
    '--repo',
    'r',
    '-i',
    'id',
    '--target',
    'new',
  ]);
  assert.equal(newest.code, 0, newest.stderr);
});

test('what no host can make good is told as that, and comes back from a copy', async (t) => {
  const box = await prepare(t);
  await box.shell(`salvage copy -q r copy --allowed-signers allowed
    rm r/index/*.age r/snapshots/00000001-*/root.age`);
  const found = await verify(box, '--request-healing');
  assert.equal(found.code, 13);
  assert.match(found.stderr, /1 index object damaged or missing: no host can make that good, and nothing/);
  assert.match(
    found.stderr,
    /Of 1 snapshot the own files are damaged or missing: .*another copy .* has them/,
  );
  assert.match(found.stderr, /only packs can be healed/);
  assert.match(found.stderr, /"salvage copy --repair" brings back from another copy/);

  await box.shell('rm -r "$XDG_CACHE_HOME"/salvage');
  const backup = await box.salvage(['backup', '--repo', 'r', 'data']);
  assert.equal(backup.code, 0, backup.stderr);
  assert.match(
    backup.stderr,
    /index\/\S+: it is missing; what no other index object lists is stored once more/,
  );
  const newest = await box.salvage(['restore', 'latest', '--repo', 'r', '-i', 'id', '--target', 'new']);
  assert.equal(newest.code, 0, newest.stderr);

  const repaired = await box.salvage(['copy', '--repair', 'copy', 'r', '--allowed-signers', 'allowed']);
  assert.equal(repaired.code, 0, repaired.stderr);
  assert.equal((await verify(box, '--read-data')).code, 0);
});
