// A drill with the real binary: what it proves, what it finds, what it leaves behind.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createSandbox, type RunResult, type Sandbox } from '../support/cli.ts';

interface Report {
  readonly passed: boolean;
  readonly scope: string;
  readonly files: number;
  readonly bytes: number;
  readonly allFiles: number;
  readonly findings: readonly string[];
  readonly check: string | null;
}

async function prepare(t: TestContext): Promise<Sandbox> {
  const box = createSandbox(t);
  for (let index = 0; index < 30; index++) box.write(`data/d${index % 3}/f${index}`, randomBytes(20_000));
  await box.shell(`chmod 555 data/d0; mkdir scratch fleet
    ssh-keygen -q -t ed25519 -N '' -f id
    salvage init --repo fleet/host -R id.pub --name host > allowed
    salvage backup -q --repo fleet/host data`);
  return box;
}

async function drill(
  box: Sandbox,
  ...args: string[]
): Promise<{ readonly result: RunResult; readonly report: Report }> {
  const common = ['--repo', 'fleet/host', '-i', 'id', '--allowed-signers', 'allowed', '--scratch', 'scratch'];
  const result = await box.salvage(['drill', ...common, '--json', ...args]);
  const text = result.stdout.toString();
  return { result, report: (text === '' ? {} : JSON.parse(text)) as Report };
}

test('a drill restores, checks, signs a report, and leaves nothing in clear', async (t) => {
  const box = await prepare(t);
  const never = await box.salvage(['status', '--root', 'fleet', '--allowed-signers', 'allowed', '--json']);
  assert.match(never.stdout.toString(), /"drill":null/);

  const all = await drill(box, '--check', 'test "$(find . -type f | wc -l)" = 30 && echo seen');
  assert.equal(all.result.code, 0, all.result.stderr);
  assert.deepEqual(
    [all.report.passed, all.report.scope, all.report.files, all.report.bytes, all.report.check],
    [true, 'everything', 30, 600_000, 'passed'],
  );
  assert.match(all.result.stderr, /^seen$/m);
  assert.deepEqual(readdirSync(box.path('scratch')), []);

  const some = await drill(box, '--max-size', '100K', '--max-files', '10');
  assert.equal(some.result.code, 0, some.result.stderr);
  assert.deepEqual([some.report.scope, some.report.files, some.report.allFiles], ['sample', 5, 30]);

  const status = await box.salvage(['status', '--root', 'fleet', '--allowed-signers', 'allowed']);
  assert.match(status.stdout.toString(), /DRILLED\n.* clean +\d.* ago\n$/);
  await box.shell(`cd "$XDG_STATE_HOME/salvage/drills"
    echo "restorer $(cat "$XDG_CONFIG_HOME/salvage/restorer-key.pub")" > allowed
    ssh-keygen -Y verify -f allowed -I restorer -n salvage-drill -s *.json.sig < *.json`);

  const known = `cat allowed; echo "restorer namespaces=\\"salvage-drill\\" $(cat "$XDG_CONFIG_HOME/salvage/restorer-key.pub")"`;
  await box.shell(`{ ${known}; } > both; ssh-keygen -q -t ed25519 -N '' -f other
    { cat allowed; echo "restorer namespaces=\\"salvage-drill\\" $(cat other.pub)"; } > others`);
  const statusBy = async (list: string): Promise<RunResult> =>
    await box.salvage(['status', '--root', 'fleet', '--allowed-signers', list]);
  assert.equal((await statusBy('both')).code, 0);
  const stranger = await statusBy('others');
  assert.match(stranger.stdout.toString(), / NOT TRUSTED\n$/);
  await box.shell(`sed -i 's/"allFiles": 30/"allFiles": 31/' "$XDG_STATE_HOME"/salvage/drills/*.json`);
  const changed = await statusBy('allowed');
  assert.match(changed.stdout.toString(), / NOT TRUSTED\n$/);
  assert.equal(changed.code, 13, changed.stderr);
});

test('a drill that fails says so, in its report, its exit code and status', async (t) => {
  const box = await prepare(t);
  const unhappy = await drill(box, '--check', 'exit 7');
  assert.equal(unhappy.result.code, 1);
  assert.deepEqual([unhappy.report.passed, unhappy.report.check], [false, 'failed']);
  assert.match(unhappy.result.stderr, /it ended with exit code 7/);

  const slow = await drill(box, '--max-time', '1s', '--check', 'sleep 100');
  assert.equal(slow.result.code, 1);
  assert.match(slow.result.stderr, /the 1 s it may take are over/);
  const status = await box.salvage(['status', '--root', 'fleet', '--allowed-signers', 'allowed']);
  assert.match(status.stdout.toString(), / FAILED .* ago\n$/);

  const packs = readdirSync(box.path('fleet', 'host', 'packs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const [largest] = packs.sort((a, b) => statSync(b).size - statSync(a).size);
  const bytes = readFileSync(largest!);
  bytes[bytes.length >>> 1]! ^= 1;
  writeFileSync(largest!, bytes);
  const damaged = await drill(box);
  assert.equal(damaged.result.code, 13, damaged.result.stderr);
  assert.ok(damaged.report.findings.length > 0);
  assert.deepEqual(readdirSync(box.path('scratch')), []);

  assert.equal((await box.salvage(['drill', '--repo', 'fleet/host'])).code, 2);
});
