// Many repositories below one root: one table, one exit code, and nothing that can vanish unseen.
import assert from 'node:assert/strict';
import { cpSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSandbox, type RunResult } from '../support/cli.ts';

test('status and verify look at every repository below a root', async (t) => {
  const box = createSandbox(t);
  await box.shell(`mkdir -p data fleet/dc1
    echo content > data/file
    ssh-keygen -q -t ed25519 -N '' -f id
    for host in web-1 web-2 dc1/db; do
      export XDG_CONFIG_HOME=$PWD/config-\${host##*/}
      salvage init --repo fleet/$host -R id.pub --name \${host##*/} >> allowed
      salvage backup -q --repo fleet/$host data
    done
    mkdir fleet/not-a-repository`);
  const fleet = (command: string, ...args: string[]): Promise<RunResult> =>
    box.salvage([command, '--root', 'fleet', '--allowed-signers', 'allowed', ...args]);

  const clean = await fleet('status');
  assert.equal(clean.code, 0, clean.stderr);
  const rows = clean.stdout.toString().trim().split('\n');
  assert.equal(rows.length, 4);
  assert.match(rows[1]!, /^dc1\/db +1 +\d{4}-.* UTC +\d.* clean$/);
  assert.match(rows[2]!, /^web-1 .* clean$/);

  const old = await fleet('status', '--max-age', '0s', '--json');
  assert.equal(old.code, 1);
  const states = old.stdout
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly name: string; readonly tooOld: boolean });
  assert.deepEqual(
    states.map(({ name, tooOld }) => [name, tooOld]),
    [
      ['dc1/db', true],
      ['web-1', true],
      ['web-2', true],
    ],
  );

  // A damaged pack is found by reading, and the exit code is that of the worst.
  const packs = box.path('fleet', 'web-2', 'packs');
  const [pack] = readdirSync(packs, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  const good = box.path('good-pack');
  cpSync(join(pack!.parentPath, pack!.name), good);
  box.write('nonsense', 'x'.repeat(500));
  cpSync(box.path('nonsense'), join(pack!.parentPath, pack!.name));
  assert.equal((await fleet('status')).code, 0);
  const read = await fleet('verify', '--read-data');
  assert.equal(read.code, 13);
  assert.match(read.stderr, /web-2: "packs\//);
  assert.match(read.stdout.toString(), /^web-2 .* 1 FOUND$/m);
  assert.match(read.stdout.toString(), /^web-1 .* clean$/m);
  cpSync(good, join(pack!.parentPath, pack!.name));
  assert.equal((await fleet('verify', '--read-data')).code, 0);

  // One host's repository under the name of another, and one that is gone.
  renameSync(box.path('fleet', 'web-1'), box.path('fleet', 'moved'));
  cpSync(box.path('fleet', 'web-2'), box.path('fleet', 'web-1'), { recursive: true });
  rmSync(box.path('fleet', 'dc1'), { recursive: true });
  const attacked = await fleet('status');
  assert.equal(attacked.code, 13);
  assert.match(attacked.stderr, /web-1: .*the key belongs to another principal/);
  assert.match(attacked.stdout.toString(), /^dc1\/db .* GONE$/m);
  assert.match(attacked.stdout.toString(), /^web-2 .* clean$/m);
  assert.equal((await fleet('verify', '--repo', 'fleet/web-2')).code, 2);
  assert.equal((await box.salvage(['status', '--root', 'data', '--allowed-signers', 'allowed'])).code, 10);
});
