// `salvage doctor` on a machine that is ready, and on the same machine with every defect that it knows.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { createSandbox, salvage, type Sandbox } from '../support/cli.ts';
import { needsRoot, startSshd } from '../support/sshd.ts';
import { needsPeers } from '../support/peers.ts';

interface Check {
  readonly check: string;
  readonly subject: string;
  readonly state: string;
  readonly message: string;
  readonly mend: string | null;
}

const configuration = `
[repositories.main]
url = "repo"
allowed-signers = "allowed"
identities = ["id"]
[repositories.main.verify]
[repositories.main.drill]
max-size = "64M"
[jobs.files]
paths = ["src"]
`;

/** Programs of the test's own come first. */
function pathOf(box: Sandbox): string {
  return `${box.path('bin')}:${dirname(salvage)}:${process.env['PATH']}`;
}

async function examine(box: Sandbox, shell = 'salvage', ...args: string[]): Promise<Check[]> {
  const { stdout, stderr, code } = await box.shell(
    `${shell} doctor --json --config salvage.toml ${args.join(' ')}`,
    { env: { PATH: pathOf(box) } },
  );
  const checks = stdout
    .toString()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Check);
  const isBad = checks.some(({ state }) => state === 'bad' || state === 'missing');
  assert.equal(code, isBad ? 1 : 0, stderr);
  for (const { state, mend, subject } of checks) assert.equal(mend === null, state === 'ok', subject);
  return checks;
}

/** "state check subject" of all that is not well, paths shortened. */
function complaints(box: Sandbox, checks: readonly Check[]): string[] {
  return checks
    .filter(({ state }) => state !== 'ok')
    .map(({ check, subject, state }) => `${state} ${check} ${subject}`.replace(`${box.folder}/`, '').trim());
}

test('a machine that is ready, and what becomes of it', needsRoot, async (t) => {
  const box = createSandbox(t);
  box.write('salvage.toml', configuration);
  box.write('src/file', 'content');
  // Nobody's crontab is touched.
  box.write(
    'bin/crontab',
    `#!/bin/sh\n[ "$1" = -l ] && exec cat '${box.path('table')}'; exec cat > '${box.path('table')}'\n`,
    0o755,
  );
  box.write('table', '');
  const made = await box.shell(
    `export PATH='${pathOf(box)}'
    ssh-keygen -q -t ed25519 -a 100 -N '' -f id && salvage init -q --repo repo -R id.pub --name host > allowed
    salvage run -q --config salvage.toml && salvage schedule install -q --kind cron --config salvage.toml`,
  );
  assert.equal(made.code, 0, made.stderr);
  const ready = await examine(box);
  // What anybody may read who has the file is said of every key without a passphrase.
  assert.deepEqual(complaints(box, ready), ['warn key id']);
  const kinds = new Set(ready.map(({ check }) => check));
  for (const kind of [
    'salvage',
    'limits',
    'clock',
    'folder',
    'configuration',
    'file',
    'key',
    'repository',
    'space',
    'schedule',
    'step',
  ])
    assert.ok(kinds.has(kind), kind);
  assert.match(ready.find(({ check }) => check === 'repository')!.message, /^1 snapshot, the newest made /);
  assert.match(ready.find(({ check }) => check === 'configuration')!.message, /host, auditor, restorer$/);
  assert.match(ready.find(({ subject }) => subject === 'verify:main')!.message, /^done .* ago; next in /);

  // For people: lines of 80 columns on a terminal.
  const shown = await box.shell(
    `script -qec 'stty cols 80; salvage doctor --config salvage.toml' /dev/null`,
    { env: { PATH: pathOf(box) } },
  );
  const wide = shown.stdout
    .toString()
    .split(/\r?\n/)
    .filter((line) => line.length > 80 && !/mend: |salvage-test-/.test(line));
  assert.deepEqual(wide, []);
  assert.match(shown.stdout.toString(), /^ok {7}salvage {8}version /m);

  // All defects at once, each of which must be told.
  const runs = box.path('.home/.local/state/salvage/runs');
  const state = join(
    runs,
    readdirSync(runs).find((name) => name.endsWith('.json'))!,
  );
  const memory = JSON.parse(readFileSync(state, 'utf8')) as {
    steps: Record<string, Record<string, unknown>>;
  };
  const at = (days: number): string => new Date(Date.now() + days * 86_400_000).toISOString();
  Object.assign(memory.steps['backup:files']!, { startedAt: at(-9), endedAt: at(-9), goodAt: at(-9) });
  Object.assign(memory.steps['verify:main']!, { startedAt: at(2), endedAt: at(2) });
  Object.assign(memory.steps['drill:main']!, { outcome: 'failure', code: 'failed', message: 'Cannot do it' });
  writeFileSync(state, JSON.stringify(memory));
  writeFileSync(box.path('table'), '');
  chmodSync(box.path('id'), 0o644);
  chmodSync(box.path('.home/.local/state/salvage'), 0o777);
  mkdirSync(box.path('.home/tmp/salvage-drill-abc123'));
  const old = new Date(Date.now() - 2 * 86_400_000);
  box.write('repo/.incoming/half', 'half a pack');
  utimesSync(box.path('repo/.incoming/half'), old, old);
  mkdirSync(box.path('repo/snapshots/00000002-20261123T120000Z-00000000'));
  box.write('repo/snapshots/00000002-20261123T120000Z-00000000/snapshot.json', '{}');
  box.write(
    'salvage.toml',
    `${configuration}
[repositories.none]
url = "nothing"
[repositories.cloud]
url = "rclone:nowhere:backups"
plugins = ["nonsense"]
[jobs.dump]
repository = "main"
command = "A=b nosuchdump --all 'a | b' | gzip -c"
as = "dump"
[jobs.lost]
repository = "main"
paths = ["lost"]
[[notify.emails]]
to = ["a@example.org"]
from = "b@example.org"
sendmail = "nosendmail"
`.replace('paths = ["src"]', 'repository = "main"\npaths = ["src"]'),
  );
  const bad = await examine(
    box,
    `unshare -m sh -c 'mount -t tmpfs -o size=1m tmpfs .home/.cache && ulimit -n 100 && exec salvage "$@"' sh`,
    '--offline',
  );
  assert.deepEqual(complaints(box, bad), [
    'bad limits',
    'bad folder .home/.local/state/salvage',
    'warn leftover .home/tmp/salvage-drill-abc123',
    'missing file lost',
    ...(bad.some(({ subject, state }) => subject === 'rclone' && state !== 'ok')
      ? ['missing program rclone']
      : []),
    'missing program age-plugin-nonsense',
    'missing program nosuchdump',
    `missing program ${box.path('nosendmail')}`.replace(`${box.folder}/`, ''),
    'bad key id',
    'warn leftover main',
    'warn leftover repo/.incoming',
    'missing repository none',
    'bad space .home/.cache',
    'warn schedule cron',
    'bad step backup:files',
    'warn step backup:dump',
    'warn step backup:lost',
    'bad step verify:main',
    'warn step drill:main',
  ]);
  const mend = (subject: string): string | null =>
    bad.find((check) => check.subject.endsWith(subject) && check.state !== 'ok')!.mend;
  assert.match(mend('/id')!, /chmod 600/);
  assert.match(mend('/state/salvage')!, /^chmod go-w /);
  assert.match(mend('none')!, /^salvage init --repo /);
  assert.match(mend('cron')!, /^salvage schedule install --config /);
  assert.equal(mend('backup:files'), 'salvage run backup:files');

  chmodSync(box.path('salvage.toml'), 0o666);
  const writable = await examine(box, 'salvage', '--offline');
  assert.match(complaints(box, writable).join('\n'), /^bad configuration salvage\.toml$/m);
  box.write('salvage.toml', '[repositories.main]\nurl = "repo"\nsigne = "x"\n');
  const wrong = (await examine(box)).find(({ check }) => check === 'configuration');
  assert.match(wrong!.message, /^line 3:1: there is no key "signe"/);
});

test('a repository that does not answer is out of reach, and not waited for', needsPeers, async (t) => {
  const box = createSandbox(t);
  const sshd = await startSshd(t);
  const silent = sshd.addClient('silent', 'command="exec sleep 600",restrict');
  box.write(
    'salvage.toml',
    `[repositories.away]
url = "ssh://${sshd.user}@${sshd.host}:${sshd.port}/"
ssh-command = "${silent.sshCommand}"
[jobs.files]
paths = ["."]
`,
  );
  const away = (await examine(box, 'salvage', '--time-limit', '1s')).find(
    ({ check }) => check === 'repository',
  );
  assert.deepEqual([away!.state, away!.message], ['bad', 'no answer within 1.0 s']);
  const offline = await examine(box, 'salvage', '--offline');
  assert.ok(!offline.some(({ check }) => check === 'repository'));
  assert.equal(offline.find(({ subject }) => subject === 'ssh')?.state, 'ok');
});
