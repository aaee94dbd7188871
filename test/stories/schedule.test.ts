// schedule install, list and remove with the real binary. crontab and systemctl are stand-ins that write down what they are
// told, so that nobody's real ones are touched; the real programs are in test/interop/schedulers.test.ts.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { createSandbox, salvage, type RunResult, type Sandbox } from '../support/cli.ts';

function prepare(t: TestContext): Sandbox {
  const box = createSandbox(t);
  box.write(
    'salvage.toml',
    '[repositories.main]\nurl = "repo"\n[jobs.etc]\npaths = ["/etc"]\nschedule = "02:30"\n',
  );
  const told = box.path('told');
  box.write('bin/systemctl', `#!/bin/sh\necho "systemctl $*" >> '${told}'\n`, 0o755);
  const table = box.path('table');
  box.write(
    'bin/crontab',
    `#!/bin/sh
case $1 in
  -l) [ -e '${table}' ] || { echo "no crontab for $USER" >&2; exit 1; }; cat '${table}' ;;
  -) cat > '${table}' ;;
esac
`,
    0o755,
  );
  return box;
}

function schedule(box: Sandbox, ...args: string[]): Promise<RunResult> {
  const env = { PATH: `${box.path('bin')}:${process.env['PATH']}` };
  return box.salvage(['schedule', ...args, '--config', 'salvage.toml'], { env });
}

test('cron: only our own lines of a crontab change', async (t) => {
  const box = prepare(t);
  const own = '# mine\n30 4 * * * true\n';
  box.write('table', own);
  for (let again = 0; again < 2; again++) {
    const { code, stderr } = await schedule(box, 'install', '--kind', 'cron', '--user');
    assert.equal(code, 0, stderr);
  }
  const lines = box.read('table').toString();
  assert.ok(lines.startsWith(own));
  assert.equal(lines.match(/salvage run --scheduled/g)?.length, 1);
  assert.ok(lines.includes(`${salvage} run --scheduled`));
  const listed = await schedule(box, 'list', '--kind', 'cron', '--user');
  assert.equal(listed.code, 0, listed.stderr);
  assert.match(
    listed.stdout.toString(),
    /^STEP +SCHEDULE +LAST +RESULT +NEXT\nbackup:etc +02:30 +never +- +now\n$/,
  );
  assert.match(listed.stderr, /Started by crontab/);

  const removed = await schedule(box, 'remove', '--kind', 'cron', '--user');
  assert.equal(removed.code, 0, removed.stderr);
  assert.equal(box.read('table').toString(), own);
  assert.match((await schedule(box, 'remove', '--kind', 'cron', '--user')).stderr, /Nothing named "salvage"/);
});

test('cron: where there was no crontab there is one; one that cannot be read is left alone', async (t) => {
  const box = prepare(t);
  assert.equal((await schedule(box, 'install', '--kind', 'cron', '--user')).code, 0);
  assert.match(box.read('table').toString(), /^# BEGIN salvage/);
  box.write('bin/crontab', `#!/bin/sh\n[ "$1" = -l ] || touch '${box.path('written')}'\nexit 1\n`, 0o755);
  const { code, stderr } = await schedule(box, 'install', '--kind', 'cron', '--user');
  assert.equal(code, 1);
  assert.match(stderr, /Cannot read the crontab/);
  assert.equal(existsSync(box.path('written')), false);
});

test('systemd: units are written, started and taken away', async (t) => {
  const box = prepare(t);
  const units = box.path('.home', '.config', 'systemd', 'user');
  const dry = await schedule(box, 'install', '--kind', 'systemd', '--user', '--dry-run');
  assert.equal(dry.code, 0, dry.stderr);
  assert.equal(existsSync(units), false);
  assert.ok(dry.stdout.toString().includes(`# ${units}/salvage.timer\n`));

  const { code, stderr } = await schedule(box, 'install', '--kind', 'systemd', '--user', '--name', 'nightly');
  assert.equal(code, 0, stderr);
  const timer = box.read('.home/.config/systemd/user/nightly.timer').toString();
  assert.match(timer, /^OnCalendar=02:30$/m);
  assert.match(timer, /^Persistent=true$/m);
  assert.match(timer, /^Unit=nightly\.service$/m);
  const list = await schedule(box, 'list', '--kind', 'systemd', '--user', '--name', 'nightly', '--json');
  assert.equal(JSON.parse(list.stdout.toString()).due, true);

  assert.equal((await schedule(box, 'remove', '--kind', 'systemd', '--user', '--name', 'nightly')).code, 0);
  assert.equal(existsSync(`${units}/nightly.timer`), false);
  assert.equal(existsSync(`${units}/nightly.service`), false);
  assert.deepEqual(box.read('told').toString().trim().split('\n'), [
    'systemctl --user daemon-reload',
    'systemctl --user enable nightly.timer',
    'systemctl --user restart nightly.timer',
    'systemctl --user disable --now nightly.timer',
    'systemctl --user daemon-reload',
  ]);
});

test('what cannot be scheduled is said before anything is written', async (t) => {
  const box = prepare(t);
  const name = await schedule(box, 'install', '--kind', 'cron', '--user', '--name', '../x');
  assert.equal(name.code, 2);
  const both = await schedule(box, 'install', '--system', '--user');
  assert.equal(both.code, 2);
  box.write('salvage.toml', '[repositories.main]\nurl = "repo"\n');
  const nothing = await schedule(box, 'install', '--kind', 'cron', '--user');
  assert.equal(nothing.code, 2);
  assert.match(nothing.stderr, /it says nothing that is to be done/);
  assert.equal(existsSync(box.path('table')), false);
});
