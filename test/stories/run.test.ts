// salvage.toml with the real binary: a keeper, a host and a restorer on one machine.
import assert from 'node:assert/strict';
import { chmodSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createSandbox, type RunResult, type Sandbox } from '../support/cli.ts';

const configuration = `
[repositories.main]
url = "repo"
allowed-signers = "allowed"
signing-key = "keeper"
identities = ["id"]
[repositories.main.verify]
[repositories.main.retention]
keep-last = 2
max-remove = "100%"
[repositories.main.drill]
[repositories.usb]
url = "usb"
[jobs.files]
repository = "main"
schedule = "hourly"
paths = ["src"]
exclude = ["*.tmp"]
labels = { from = "run" }
[jobs.db]
repository = "main"
command = "cat dump.sql"
as = "db.sql"
[copies.usb]
from = "main"
to = "usb"
`;

async function prepare(t: TestContext, toml: string = configuration): Promise<Sandbox> {
  const box = createSandbox(t);
  box.write('salvage.toml', toml);
  box.write('src/file', 'content');
  box.write('src/file.tmp', 'not wanted');
  box.write('dump.sql', 'insert');
  const { code, stderr } = await box.shell(`
    ssh-keygen -q -t ed25519 -N '' -f id
    ssh-keygen -q -t ed25519 -N '' -f keeper
    salvage init -q --repo repo -R id.pub --name host > allowed
    echo "keeper namespaces=\\"salvage-keeper\\" $(cat keeper.pub)" >> allowed`);
  assert.equal(code, 0, stderr);
  return box;
}

function run(box: Sandbox, ...args: string[]): Promise<RunResult> {
  return box.salvage(['run', '--config', 'salvage.toml', ...args]);
}

interface StepLine {
  readonly event: string;
  readonly id?: string;
  readonly outcome?: string;
  readonly snapshot?: string | null;
}

function linesOf({ stdout }: RunResult): StepLine[] {
  return stdout
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as StepLine);
}

/** How each step ended, as "outcome id", in order. */
function endings(result: RunResult): string[] {
  return linesOf(result)
    .filter(({ event }) => event === 'step')
    .map(({ id, outcome }) => `${outcome} ${id}`);
}

/** Lets it look as if the last runs had been so long ago. */
function age(box: Sandbox, days: number, ids?: readonly string[]): void {
  const folder = box.path('.home', '.local', 'state', 'salvage', 'runs');
  const file = join(
    folder,
    readdirSync(folder).find((name) => name.endsWith('.json'))!,
  );
  const state = JSON.parse(readFileSync(file, 'utf8'));
  for (const [id, last] of Object.entries<Record<string, unknown>>(state.steps)) {
    if (ids && !ids.includes(id)) continue;
    for (const name of ['startedAt', 'endedAt'])
      last[name] = new Date(Date.parse(last[name] as string) - days * 86_400_000).toISOString();
  }
  writeFileSync(file, JSON.stringify(state));
}

test('everything is done in order when it is due, and only then', async (t) => {
  const box = await prepare(t);
  const plan = await run(box, '--dry-run');
  assert.equal(plan.code, 0, plan.stderr);
  assert.match(plan.stdout.toString(), /^STEP +REPOSITORY +WHY\nbackup:files +main +it never ran\n/);
  const first = await run(box, '--json');
  assert.equal(first.code, 0, first.stderr);
  assert.deepEqual(endings(first), [
    'success backup:files',
    'success backup:db',
    'success copy:usb',
    'success verify:main',
    'success forget:main',
    'success prune:main',
    'success drill:main',
  ]);
  const backup = linesOf(first).find(({ id, event }) => event === 'step' && id === 'backup:files');
  assert.match(backup?.snapshot ?? '', /^00000001-/);

  const second = await run(box);
  assert.equal(second.code, 0, second.stderr);
  assert.match(second.stderr, /Nothing is due/);

  // A machine that was off for two days catches up what was missed, once.
  age(box, 2, ['backup:files', 'copy:usb']);
  const missed = await run(box, '--json');
  assert.deepEqual(endings(missed), ['success backup:files', 'success copy:usb']);

  const named = await run(box, '--json', 'db', 'verify:main');
  assert.deepEqual(endings(named), ['success backup:db', 'success verify:main']);

  const found = await box.shell(
    'salvage ls -q --recursive --repo usb -i id 00000001; salvage ls -q --repo usb -i id 00000002',
  );
  assert.match(found.stdout.toString(), /src\/file\n/);
  assert.doesNotMatch(found.stdout.toString(), /file\.tmp/);
  assert.match(found.stdout.toString(), /db\.sql\n/);
});

test('a step that fails keeps no other from being done; damage ends removing', async (t) => {
  const box = await prepare(t);
  assert.equal((await run(box, '-q', 'files')).code, 0);
  rmSync(box.path('dump.sql'));
  const packs = box.path('repo', 'packs');
  for (const folder of readdirSync(packs)) rmSync(join(packs, folder), { recursive: true });
  const result = await run(box, '--json', '--all');
  assert.equal(result.code, 13);
  assert.deepEqual(endings(result), [
    'success backup:files',
    'failure backup:db',
    'failure copy:usb',
    'failure verify:main',
    'failure forget:main',
    'failure prune:main',
    'success drill:main',
  ]);
  assert.match(result.stderr, /backup:db failed: Cannot back up what the command prints/);
  // Nobody is told again before its time comes again; then it is not silent.
  assert.match((await run(box)).stderr, /Nothing is due/);
  age(box, 2, ['forget:main']);
  const again = await run(box);
  assert.equal(again.code, 13);
  assert.match(again.stderr, /forget:main failed: Cannot forget: verify has found damage in "main"/);
});

test('what could not be read is in the exit code', async (t) => {
  const box = await prepare(t);
  box.write('src/secret', 'mine', 0);
  chmodSync(box.folder, 0o755);
  await box.shell('chown -R 65534:65534 .');
  const result = await box.shell(
    'setpriv --reuid 65534 --regid 65534 --clear-groups salvage run --config salvage.toml --json files',
  );
  assert.equal(result.code, 3, result.stderr);
  assert.deepEqual(endings(result), ['warning backup:files']);
});

test('runs never overlap', async (t) => {
  const box = await prepare(
    t,
    `[repositories.main]
     url = "repo"
     [jobs.slow]
     command = "mkfifo fifo 2>/dev/null; touch running; cat fifo"
     as = "slow"
    `,
  );
  const going = run(box);
  await box.shell('until [ -e running ]; do sleep 0.05; done');
  const second = await run(box);
  const scheduled = await run(box, '--scheduled');
  await box.shell('echo end > fifo');
  assert.equal((await going).code, 0);
  assert.equal(second.code, 11);
  assert.match(second.stderr, /another run is going on/);
  assert.equal(scheduled.code, 0, scheduled.stderr);
  assert.equal(scheduled.stderr, '');
});

test('an interrupted step stays due, and ends the run', async (t) => {
  const box = await prepare(
    t,
    `[repositories.main]
     url = "repo"
     [jobs.slow]
     command = "touch running; exec sleep 60"
     as = "slow"
     [jobs.after]
     paths = ["src"]
    `,
  );
  let stop = (): void => {};
  const going = box.salvage(['run', '--config', 'salvage.toml', '--json'], {
    onStart: (child) => {
      stop = () => child.kill('SIGTERM');
    },
  });
  await box.shell('until [ -e running ]; do sleep 0.05; done');
  stop();
  const ended = await going;
  assert.equal(ended.code, 143, ended.stderr);
  assert.deepEqual(endings(ended), ['failure backup:slow']);
  const plan = await run(box, '-n', '--json');
  assert.deepEqual(
    linesOf(plan).map(({ id }) => id),
    ['backup:slow', 'backup:after'],
  );
});

test('two names of one configuration have one lock and one memory', async (t) => {
  const box = await prepare(t);
  assert.equal((await run(box, '-q', 'files')).code, 0);
  symlinkSync('salvage.toml', box.path('other.toml'));
  const { stdout } = await box.salvage(['run', '--config', 'other.toml', '-n']);
  assert.doesNotMatch(stdout.toString(), /backup:files/);
});

test('a wrong configuration is shown, and nothing is done', async (t) => {
  const box = createSandbox(t);
  box.write('salvage.toml', '[repositories.main]\nurl = "repo"\n[jobs.etc]\npath = ["/etc"]\n');
  for (const command of [['config', 'check'], ['run']]) {
    const { code, stderr } = await box.salvage([...command, '--config', 'salvage.toml']);
    assert.equal(code, 2);
    assert.match(
      stderr,
      /salvage\.toml:4:1: there is no key "path" in "jobs\.etc"; did you mean "paths"\?\n {2}4 \| path = \["\/etc"\]\n {4}\| \^\^\^\^\n/,
    );
  }
  const json = await box.salvage(['config', 'check', '--config', 'salvage.toml', '--json']);
  const { line, column } = JSON.parse(json.stderr).error.details;
  assert.deepEqual([line, column], [4, 1]);
  const nothing = await box.salvage(['run']);
  assert.equal(nothing.code, 2);
  assert.match(
    nothing.stderr,
    /Cannot read the configuration "\/etc\/salvage\/salvage\.toml": there is no such file/,
  );
});

test('the configuration is found among the keys, and by SALVAGE_CONFIG', async (t) => {
  const box = await prepare(t);
  box.write('.home/.config/salvage/salvage.toml', '[repositories.main]\nurl = "/srv/own"\n');
  const own = await box.salvage(['config', 'check', '--json']);
  assert.equal(JSON.parse(own.stdout.toString()).settings.repositories.main.url, '/srv/own');
  const given = await box.salvage(['config', 'check', '--json'], { env: { SALVAGE_CONFIG: 'salvage.toml' } });
  assert.equal(JSON.parse(given.stdout.toString()).steps.length, 7);
  chmodSync(box.path('salvage.toml'), 0o666);
  const open = await box.salvage(['config', 'check', '--config', 'salvage.toml']);
  assert.match(open.stderr, /warning: Others can write "[^"]*salvage\.toml"/);
  const schema = await box.salvage(['config', 'schema']);
  assert.equal(JSON.parse(schema.stdout.toString()).title, 'salvage.toml');
});
