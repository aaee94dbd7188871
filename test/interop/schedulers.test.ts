// What `schedule install` writes, and when it says that something is due, read by systemd, cron and a reader of property lists.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import * as fc from 'fast-check';
import { nextTime, parseCalendar, systemdCalendar } from '../../src/configuration/calendar.ts';
import { createSandbox, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';

const configuration = `
[credentials]
pass = "pass word.txt"
[service]
randomized-delay = "5min"
io-class = "idle"
read-write-paths = ["/srv/100% mine"]
[repositories.main]
url = "repo"
passphrase = { credential = "pass" }
identities = ["id"]
[repositories.main.verify]
schedule = "Sun 04:00"
[repositories.main.drill]
schedule = "*-*-01,15 05:00"
[jobs.etc]
paths = ["/etc"]
schedule = "*:00/15"
`;

/** The files that would be installed, by their names. */
async function filesFor(box: Sandbox, kind: string, scope: string): Promise<Map<string, string>> {
  const { code, stdout, stderr } = await box.salvage([
    'schedule',
    'install',
    '--dry-run',
    '--kind',
    kind,
    scope,
    '--config',
    box.path('a $HOME 100%.toml'),
  ]);
  assert.equal(code, 0, stderr);
  const parts = stdout.toString().split(/^# \/(?:.*\/)?([\w.]+)$\n/m);
  return new Map(
    Array.from({ length: (parts.length - 1) / 2 }, (_, at) => [parts[at * 2 + 1]!, parts[at * 2 + 2]!]),
  );
}

function prepare(t: Parameters<typeof createSandbox>[0]): Sandbox {
  const box = createSandbox(t);
  box.write('a $HOME 100%.toml', configuration);
  return box;
}

for (const scope of ['--system', '--user'])
  test(`systemd accepts the units (${scope})`, needsPeers, async (t) => {
    const box = prepare(t);
    const files = await filesFor(box, 'systemd', scope);
    assert.deepEqual([...files.keys()], ['salvage.service', 'salvage.timer']);
    for (const [name, text] of files) box.write(name, text);
    const verified = await box.program('systemd-analyze', [
      'verify',
      '--recursive-errors=yes',
      './salvage.service',
      './salvage.timer',
    ]);
    assert.equal(verified.code, 0, verified.stderr);
    assert.equal(verified.stderr, '');
    const service = files.get('salvage.service')!;
    assert.match(service, /^ExecStart=.* --config ".*\/a \$\$HOME 100%%\.toml"$/m);
    assert.match(service, /^LoadCredential=pass:.*\/pass word\.txt$/m);
    assert.match(service, /^NoNewPrivileges=true$/m);
    if (scope === '--user') return assert.doesNotMatch(service, /ProtectSystem/);
    assert.match(service, /^ReadWritePaths="-\/srv\/100%% mine"$/m);
    const rated = await box.program('systemd-analyze', ['security', '--offline=true', './salvage.service']);
    const exposure = Number(
      /exposure level for salvage\.service: ([\d.]+)/.exec(rated.stdout.toString())?.[1],
    );
    assert.ok(exposure < 6, rated.stdout.toString());
  });

test('systemd means the same times by every schedule', needsPeers, () => {
  const times = [
    'hourly',
    'daily',
    'weekly',
    'monthly',
    'Mon..Fri 22:00',
    '*-*-01,15 04:00',
    '*:00/15',
    'Sun *-*-1..7 2:30',
  ];
  const part = (least: number, most: number): fc.Arbitrary<string> =>
    fc
      .tuple(
        fc.integer({ min: least, max: most }),
        fc.integer({ min: least, max: most }),
        fc.integer({ min: 1, max: 9 }),
      )
      .chain(([a, b, step]) =>
        fc.constantFrom('*', `${a}`, `${a},${b}`, `${Math.min(a, b)}..${Math.max(a, b)}`, `${a}/${step}`),
      );
  const hourAndMinute = fc.tuple(part(0, 23), part(0, 59)).map(([hour, minute]) => `${hour}:${minute}`);
  const random = fc.sample(
    fc.oneof(
      hourAndMinute,
      fc
        .tuple(fc.constantFrom('Mon', 'Tue..Thu', 'Sat,Sun', 'monday'), hourAndMinute)
        .map((parts) => parts.join(' ')),
      fc.tuple(part(1, 28), hourAndMinute).map(([days, time]) => `*-*-${days} ${time}`),
    ),
    60,
  );
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  for (const text of [...times, ...random].filter((text) => parseCalendar(text))) {
    const { status, stdout, stderr } = spawnSync(
      'systemd-analyze',
      ['calendar', '--base-time=2026-11-23 13:30:00', '--iterations=4', systemdCalendar(text)],
      { encoding: 'utf8', env: { ...process.env, TZ: timeZone, LC_ALL: 'C' } },
    );
    assert.equal(status, 0, `${text}: ${stderr}`);
    const theirs = [...stdout.matchAll(/(?:Next elapse|Iter\. #\d+): \w+ ([\d-]+ [\d:]+)/g)].map(
      ([, time]) => new Date(time!.replace(' ', 'T')),
    );
    assert.equal(theirs.length, 4, stdout);
    let after = new Date('2026-11-23T13:30:00');
    for (const their of theirs) {
      after = nextTime(parseCalendar(text)!, after);
      assert.deepEqual(after, their, text);
    }
  }
});

test('a property list for launchd is one', needsPeers, async (t) => {
  const box = prepare(t);
  const [text] = [...(await filesFor(box, 'launchd', '--user')).values()];
  const { code, stdout, stderr } = await box.program(
    'python3',
    ['-c', 'import json,plistlib,sys; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))'],
    { stdin: text! },
  );
  assert.equal(code, 0, stderr);
  const { Label, ProgramArguments, StartInterval } = JSON.parse(stdout.toString());
  assert.deepEqual([Label, StartInterval], ['salvage', 900]);
  assert.ok(ProgramArguments.includes(box.path('a $HOME 100%.toml')));
});

/** The line of the crontab, to be run at every minute. */
async function everyMinute(box: Sandbox): Promise<string> {
  const { stdout } = await box.salvage([
    'schedule',
    'install',
    '--dry-run',
    '--kind',
    'cron',
    '--config',
    box.path('a $HOME 100%.toml'),
  ]);
  const line = stdout
    .toString()
    .split('\n')
    .find((text) => / run --scheduled/.test(text));
  return `${line!.replace(/^\S+/, '*')}\n`;
}

test('cron accepts the line, and sh runs what cron makes of it', needsPeers, async (t) => {
  const box = prepare(t);
  const line = await everyMinute(box);
  const checked = await box.program('crontab', ['-n', box.write('table', line)]);
  assert.equal(checked.code, 0, checked.stderr);
  // crontab(5): a backslash before a percent sign goes away.
  const command = line.replace(/^(\S+ ){5}/, '').replaceAll('\\%', '%');
  const { code, stderr } = await box.shell(`cd /; ${command.trim()}`);
  // There is no repository: what was read is the configuration with the odd name.
  assert.equal(code, 10, stderr);
});

// Up to a minute goes by until cron begins; as root, in a mount namespace of its own, where nobody's crontabs are.
if (process.env['SLOW'] === '1')
  test('a real cron runs what is due', needsPeers, async (t) => {
    const box = prepare(t);
    box.write('spool/root', await everyMinute(box), 0o600);
    for (const folder of ['etc', 'run']) mkdirSync(box.path(folder));
    box.write('empty', '');
    const script = `mount --make-rprivate /
      mount --bind '${box.path('spool')}' /var/spool/cron/crontabs
      mount --bind '${box.path('etc')}' /etc/cron.d
      mount --bind '${box.path('empty')}' /etc/crontab
      mount -t tmpfs tmpfs /run
      exec cron -f -L 15`;
    const cron = spawn('unshare', ['-m', 'sh', '-ec', script], { stdio: 'ignore' });
    t.after(() => cron.kill('SIGKILL'));
    const runs = box.path('.home', '.local', 'state', 'salvage', 'runs');
    for (let waited = 0; waited < 100 && !existsSync(runs); waited++) await sleep(1000);
    for (let waited = 0; waited < 20; waited++) {
      const { stdout } = await box.shell(`cat '${runs}'/*.json || true`);
      if (stdout.length > 0)
        return assert.equal(JSON.parse(stdout.toString()).steps['backup:etc'].outcome, 'failure');
      await sleep(500);
    }
    assert.fail(readFileSync(box.path('spool/root'), 'utf8'));
  });
