// What happens around the steps of a run: hooks, alarms, records; and what status tells of it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { test } from 'node:test';
import { sendDatagram } from '../../src/posix/send-datagram.ts';
import { startHttpReceiver, startSmtpReceiver } from '../support/alarm-receivers.ts';
import { createSandbox, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';
import { parsePrometheusText } from '../support/prometheus-text.ts';
import { startRsyslog } from '../support/rsyslog.ts';

const configuration = `[repositories.main]
url = "backups"
allowed-signers = "allowed"
signer = "web-1"
verify = { schedule = "daily" }

[jobs.web]
paths = ["data"]
`;

async function makeHost(box: Sandbox, more: string): Promise<void> {
  await box.shell(`mkdir data && echo content > data/file
    ssh-keygen -q -t ed25519 -N '' -f id
    salvage init --repo backups -R id.pub --name web-1 > allowed`);
  box.write('salvage.toml', configuration + more);
}

test(
  'a run is surrounded by hooks, alarms and records, also when the repository is gone',
  needsPeers,
  async (t) => {
    const box = createSandbox(t);
    const http = await startHttpReceiver(t);
    const smtp = await startSmtpReceiver(t);
    const rsyslog = await startRsyslog(t, box.folder);
    box.write('hook-url', `${http.url}/services/SECRET\n`);
    await makeHost(
      box,
      `
[[hooks]]
on = ["before", "after"]
steps = ["backup"]
command = "cat >> hooks.jsonl; echo from a hook"

[[notify.pings]]
url = "${http.url}/ping/1"
names = ["web"]

[[notify.webhooks]]
kind = "slack"
url = { file = "hook-url" }

[[notify.emails]]
from = "salvage@example.org"
to = ["ops@example.org"]
smtp = "smtp://127.0.0.1:${smtp.port}"

[records]
syslog = { socket = "${rsyslog.socket}", facility = "local3" }
log-file = { path = "salvage.log" }
metrics-file = "salvage.prom"
`,
    );
    const run = (...args: string[]) => box.salvage(['run', '--config', 'salvage.toml', '-v', ...args]);
    const good = await run();
    assert.equal(good.code, 0, good.stderr);
    assert.match(good.stderr, /from a hook/);
    const hooks = box
      .read('hooks.jsonl')
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(
      hooks.map(({ hook, step, outcome }) => [hook, step, outcome]),
      [
        ['before', 'backup', undefined],
        ['after', 'backup', 'success'],
      ],
    );
    assert.equal((hooks[1]!['numbers'] as Record<string, number>)['filesNew'], 1);
    assert.deepEqual(
      http.requests.map(({ path }) => path),
      ['/ping/1/start', '/ping/1'],
    );
    assert.match(
      await rsyslog.line('step=backup'),
      /^local3\.info salvage \d+ {1,2}backup of web on .* is done: 1 new, .* \(step=backup name=web repository=main outcome=success snapshot=00000001-/,
    );

    // Nobody can open it: the job fails, and everybody hears of it.
    renameSync(box.path('backups'), box.path('away'));
    http.requests.length = 0;
    const bad = await run('web');
    assert.equal(bad.code, 10, bad.stderr);
    assert.deepEqual(http.requests.map(({ path }) => path).sort(), [
      '/ping/1/fail',
      '/ping/1/start',
      '/services/SECRET',
    ]);
    const [fail] = http.requests.filter(({ path }) => path === '/ping/1/fail');
    assert.match(fail!.body, /FAILED\nCannot open a repository at ".*": there is none/);
    assert.equal(smtp.mails.length, 1);
    assert.match(smtp.mails[0]!.text, /Cannot open a repository/);
    assert.match(await rsyslog.line('outcome=failure'), /^local3\.err salvage .* code=no-repository/);
    const log = box
      .read('salvage.log')
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(
      log.map(({ step, outcome }) => [step, outcome]),
      [
        ['backup', 'success'],
        ['verify', 'success'],
        ['backup', 'failure'],
      ],
    );
    const metrics = parsePrometheusText(box.read('salvage.prom').toString());
    const last = metrics.get('salvage_step_last_run_succeeded')!.samples;
    assert.deepEqual(
      last.map(({ labels, value }) => [labels['step'], labels['name'], value]),
      [
        ['backup', 'web', 0],
        ['verify', 'main', 1],
      ],
    );
    for (const name of ['salvage.log', 'salvage.prom', 'hooks.jsonl'])
      assert.ok(!box.read(name).toString().includes('SECRET'), name);
    assert.ok(!good.stderr.includes('SECRET') && !bad.stderr.includes('SECRET'));
  },
);

test('a broken alarm is named and fails nothing; a hook before that fails does', async (t) => {
  const box = createSandbox(t);
  await makeHost(
    box,
    `
[[notify.webhooks]]
kind = "generic"
url = { command = "exit 1" }
on = ["success"]

[records]
syslog = { socket = "no-such-socket" }

[[hooks]]
on = ["before"]
command = "test -e ready || { echo the database is away; exit 3; }"

[[hooks]]
on = ["failure"]
command = "touch failed"
`,
  );
  const run = () => box.salvage(['run', 'web', '--config', 'salvage.toml']);
  const stopped = await run();
  assert.equal(stopped.code, 1);
  assert.match(
    stopped.stderr,
    /web failed: Cannot begin: the hook before it ended with exit code 3 \(the database is away\)/,
  );
  assert.ok(existsSync(box.path('failed')));
  assert.ok(!existsSync(box.path('backups', 'snapshots')));

  box.write('ready', '');
  const good = await run();
  assert.equal(good.code, 0, good.stderr);
  assert.match(good.stderr, /warning: The alarm by webhook \(generic\) was not given: Cannot get the URL/);
  assert.match(good.stderr, /warning: The record was not written to syslog at ".*no-such-socket"/);

  box.write('salvage.toml', `${configuration}\n[[hooks]]\non = ["after"]\ncommand = "exit 5"\n`);
  const left = await run();
  assert.equal(left.code, 3, left.stderr);
  assert.match(left.stderr, /warning: A hook failed \(on after, backup of web\): it ended with exit code 5/);
});

test('an interrupted run clears up and says so', async (t) => {
  const box = createSandbox(t);
  const http = await startHttpReceiver(t);
  await makeHost(
    box,
    `
[jobs.dump]
command = "touch begun; sleep 1000"
as = "dump.sql"

[[hooks]]
on = ["after"]
names = ["dump"]
command = "echo $SALVAGE_CODE > ended"

[[notify.pings]]
url = "${http.url}"
`,
  );
  const { code } = await box.salvage(['run', 'dump', '--config', 'salvage.toml'], {
    onStart(child) {
      const watch = setInterval(() => {
        if (!existsSync(box.path('begun'))) return;
        clearInterval(watch);
        // A second one would kill it.
        child.kill('SIGTERM');
      }, 20);
      child.once('exit', () => clearInterval(watch));
    },
  });
  assert.equal(code, 143);
  assert.equal(box.read('ended').toString(), 'interrupted\n');
  assert.deepEqual(
    http.requests.map(({ path }) => path),
    ['/start', '/fail'],
  );
});

test('status tells of every repository of the configuration, and monitoring gets its answer', async (t) => {
  const box = createSandbox(t);
  await makeHost(box, '');
  const status = (...args: string[]) => box.salvage(['status', '--config', 'salvage.toml', ...args]);
  const empty = await status('--nagios');
  assert.equal(empty.code, 2);
  assert.match(
    empty.stdout.toString(),
    /^SALVAGE CRITICAL: 0 of 1 repositories ok; main: there is no snapshot \| 'main_stored'=\d+B 'main_snapshots'=0\n$/,
  );
  assert.equal((await box.salvage(['run', '--config', 'salvage.toml'])).code, 0);

  const table = await status();
  assert.equal(table.code, 0, table.stderr);
  const [head, row] = table.stdout.toString().split('\n');
  assert.equal(head!.replace(/ +/g, ' '), 'REPOSITORY AGE STORED 7 DAYS VERIFIED DRILLED NEXT STATE');
  assert.match(row!, /^main +\d.* s +\d.* KiB +\+\d.* KiB +\d.* s +never +in \d.* clean$/);
  assert.ok(row!.length <= 80);

  const [json] = (await status('--json')).stdout
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(json!['monitoring'], 'ok');
  assert.equal(json!['snapshots'], 1);
  assert.deepEqual(
    (json!['steps'] as { id: string; outcome: string }[]).map(({ id, outcome }) => [id, outcome]),
    [
      ['backup:web', 'success'],
      ['verify:main', 'success'],
    ],
  );
  const good = await status('--nagios');
  assert.equal(good.code, 0);
  assert.match(
    good.stdout.toString(),
    /^SALVAGE OK: 1 of 1 repositories ok, .* \| 'main_age'=\d+s 'main_stored'=\d+B 'main_snapshots'=1\n$/,
  );

  // Who knows no signers believes what is there, and says so.
  const unchecked = await box.salvage(['status'], { env: { SALVAGE_REPOSITORY: 'backups' } });
  assert.equal(unchecked.code, 0, unchecked.stderr);
  assert.match(unchecked.stdout.toString(), / 1 {2}\d{4}-.* unchecked$/m);

  // Somebody changes a signature; then all of it is gone; then there is no configuration.
  await box.shell(
    'for list in backups/snapshots/*/SHA256SUMS.sig; do chmod u+w $list; echo forged > $list; done',
  );
  const forged = await status('--nagios');
  assert.equal(forged.code, 2);
  assert.match(forged.stdout.toString(), /^SALVAGE CRITICAL: .*damaged, missing or forged/);
  assert.equal(forged.stderr, '');
  assert.equal((await status()).code, 13);
  rmSync(box.path('backups'), { recursive: true });
  assert.equal((await status('--nagios')).code, 2);
  assert.equal((await status()).code, 10);
  const lost = await box.salvage(['status', '--config', 'other.toml', '--nagios']);
  assert.equal(lost.code, 3);
  assert.match(lost.stdout.toString(), /^SALVAGE UNKNOWN: Cannot read the configuration/);
});

test('mail goes out over TLS only, but on this machine', needsPeers, async (t) => {
  const box = createSandbox(t);
  await box.shell(
    'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key -out tls.crt -days 2 -subj /CN=mail 2>/dev/null',
  );
  const tls = { key: box.read('tls.key').toString(), cert: box.read('tls.crt').toString() };
  const encrypted = await startSmtpReceiver(t, { tls });
  const plain = await startSmtpReceiver(t);
  box.write('password', 'correct horse\n');
  const mail = (port: number, host: string): string => `
[[notify.emails]]
from = "salvage@example.org"
to = ["ops@example.org"]
on = ["success"]
smtp = "smtp://${host}:${port}"
username = "salvage"
password = { file = "password" }
attempts = 1
`;
  await makeHost(
    box,
    [
      mail(encrypted.port, '127.0.0.1'),
      // Leads here as well, without saying so.
      mail(encrypted.port, '0.0.0.0'),
      mail(plain.port, '0.0.0.0'),
    ].join(''),
  );
  const { code, stderr } = await box.salvage(['run', 'web', '--config', 'salvage.toml']);
  assert.equal(code, 0, stderr);
  assert.equal(encrypted.mails.length, 1);
  assert.equal(encrypted.mails[0]!.isEncrypted, true);
  assert.equal(encrypted.mails[0]!.login, '\0salvage\0correct horse');
  assert.equal(plain.mails.length, 0);
  assert.match(stderr, /not given by 0\.0\.0\.0:\d+: the connection failed \(self-signed certificate\)$/m);
  assert.match(stderr, /not given by 0\.0\.0\.0:\d+: it offers no TLS that can be trusted$/m);
});

test('a datagram to a socket arrives as it was sent', needsPeers, async (t) => {
  const box = createSandbox(t);
  const socket = box.path('socket');
  const receiver = spawn(
    'python3',
    [
      '-c',
      'import socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.bind(sys.argv[1])\nprint("up", flush=True)\nsys.stdout.buffer.write(s.recv(100000))',
      socket,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.after(() => receiver.kill('SIGKILL'));
  const printed: Buffer[] = [];
  const up = once(receiver.stdout, 'data');
  receiver.stdout.on('data', (piece: Buffer) => printed.push(piece));
  await up;
  assert.ok(statSync(socket).isSocket());
  const bytes = Buffer.from(Array.from({ length: 50_000 }, (_, at) => at % 256));
  sendDatagram(socket, bytes);
  await once(receiver, 'close');
  assert.ok(Buffer.concat(printed).subarray(3).equals(bytes));
  assert.throws(() => sendDatagram(socket, bytes), { code: 'ECONNREFUSED' });
  assert.throws(() => sendDatagram(box.path('none'), bytes), { code: 'ENOENT' });
  assert.throws(() => sendDatagram(`/${'x'.repeat(200)}`, bytes), { code: 'ENAMETOOLONG' });
});
