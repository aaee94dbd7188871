import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { startHttpReceiver, startSmtpReceiver } from '../../../test/support/alarm-receivers.ts';
import { makeStepReport } from '../../../test/support/step-report.ts';
import { systemClock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { AlarmSettings, Email, Ping, Webhook } from './alarm-settings.ts';
import { sendAlarms, sendStartPings } from './send-alarms.ts';

const pauses: number[] = [];
const surroundings = {
  clock: systemClock,
  sleep: async (ms: number): Promise<void> => void pauses.push(ms),
  env: { PATH: process.env['PATH'] },
};

const secret = (text: string) => (): Promise<string> => Promise.resolve(text);

function settings(parts: Partial<AlarmSettings>): AlarmSettings {
  return { webhooks: [], emails: [], pings: [], ...parts };
}

function webhook(url: string, changes: Partial<Webhook> = {}): Webhook {
  return { url: secret(url), kind: 'generic', on: ['failure'], timeoutMs: 20_000, attempts: 3, ...changes };
}

function ping(url: string, changes: Partial<Ping> = {}): Ping {
  return {
    url: secret(url),
    on: ['start', 'success', 'failure'],
    timeoutMs: 20_000,
    attempts: 3,
    ...changes,
  };
}

function email(changes: Partial<Email>): Email {
  return {
    to: ['ops@example.org', 'Ünal <second@example.org>'],
    from: 'salvage@db-1.example.org',
    on: ['failure'],
    sendmail: '/nonexistent/sendmail',
    timeoutMs: 20_000,
    attempts: 3,
    ...changes,
  };
}

test('each kind of webhook is told in its own way', async (t) => {
  const { url, requests } = await startHttpReceiver(t);
  const token = secret('s3cret\n');
  const webhooks = [
    webhook(`${url}/services/T/B/X`, { kind: 'slack' }),
    webhook(`${url}/my-topic`, { kind: 'ntfy', token }),
    webhook(`${url}/gotify/`, { kind: 'gotify', token }),
    webhook(`${url}/generic`, { token, headers: { 'X-Team': 'ops' } }),
  ];
  const report = makeStepReport({ message: 'Cannot read "<!channel> & co": gone', host: 'hôte' });
  assert.deepEqual(await sendAlarms(settings({ webhooks }), report, surroundings), []);
  const at = (path: string) => requests.find((request) => request.path === path)!;
  assert.ok(requests.every(({ method }) => method === 'POST'));

  const slack = JSON.parse(at('/services/T/B/X').body) as { text: string };
  assert.deepEqual(Object.keys(slack), ['text']);
  assert.match(
    slack.text,
    /^\*backup of web on hôte FAILED\*\nCannot read "&lt;!channel&gt; &amp; co": gone\nTry it again\.\n/,
  );

  const ntfy = at('/my-topic');
  assert.equal(ntfy.headers['title'], 'backup of web on h?te FAILED');
  assert.equal(ntfy.headers['priority'], 'high');
  assert.equal(ntfy.headers['authorization'], 'Bearer s3cret');
  assert.match(ntfy.body, /^Cannot read "<!channel> & co": gone\n/);

  const gotify = at('/gotify/message');
  assert.equal(gotify.headers['x-gotify-key'], 's3cret');
  const message = JSON.parse(gotify.body) as Record<string, unknown>;
  assert.equal(message['title'], 'backup of web on hôte FAILED');
  assert.equal(message['priority'], 8);

  const generic = at('/generic');
  assert.equal(generic.headers['x-team'], 'ops');
  assert.equal(generic.headers['content-type'], 'application/json');
  const result = JSON.parse(generic.body) as Record<string, unknown>;
  assert.equal(result['outcome'], 'failure');
  assert.equal(result['durationSeconds'], 12.345);
  assert.equal(result['url'], undefined);
});

test('what is filled in a template never leaves the string it stands in', async (t) => {
  const { url, requests } = await startHttpReceiver(t);
  const report = makeStepReport({ message: 'a "b" \\ \n&c=1' });
  const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
  const webhooks = [
    webhook(`${url}/json`, { template: '{"text":"{{ message }}","all":{{result}}}' }),
    webhook(`${url}/form`, { template: 'text={{message}}&who={{name}}', headers: form }),
    webhook(`${url}/text`, { template: '{{title}}: {{message}}', headers: { 'content-type': 'text/plain' } }),
    webhook(`${url}/wrong`, { template: '{{passphrase}}' }),
  ];
  const troubles = await sendAlarms(settings({ webhooks }), report, surroundings);
  assert.equal(troubles.length, 1);
  assert.match(troubles[0]!, /there is no place \{\{passphrase\}\}/);
  const body = (path: string) => requests.find((request) => request.path === path)!.body;
  const json = JSON.parse(body('/json')) as { text: string; all: { name: string } };
  assert.equal(json.text, report.message);
  assert.equal(json.all.name, 'web');
  assert.equal(new URLSearchParams(body('/form')).get('text'), report.message);
  assert.equal(new URLSearchParams(body('/form')).get('who'), 'web');
  assert.match(body('/text'), /^backup of web on db-1 FAILED: a "b"/);
});

test('alarms are given for the outcomes and names that they are meant for', async (t) => {
  const { url, requests } = await startHttpReceiver(t);
  const webhooks = [
    webhook(`${url}/bad`, { on: ['failure', 'warning'] }),
    webhook(`${url}/good`, { on: ['success'] }),
    webhook(`${url}/other`, { on: ['success', 'failure', 'warning'], names: ['other'] }),
    webhook(`${url}/main`, { on: ['warning'], names: ['main'] }),
  ];
  const paths = async (outcome: 'success' | 'warning' | 'failure'): Promise<string[]> => {
    requests.length = 0;
    await sendAlarms(settings({ webhooks }), makeStepReport({ outcome }), surroundings);
    return requests.map(({ path }) => path).sort();
  };
  assert.deepEqual(await paths('success'), ['/good']);
  assert.deepEqual(await paths('warning'), ['/bad', '/main']);
  assert.deepEqual(await paths('failure'), ['/bad']);
});

test('a dead man’s switch hears of the start, of success and of failure', async (t) => {
  const { url, requests } = await startHttpReceiver(t);
  const pings = [ping(`${url}/ping/uuid?rid=1`)];
  const { outcome: _, ...step } = makeStepReport();
  assert.deepEqual(await sendStartPings(settings({ pings }), step, surroundings), []);
  for (const outcome of ['success', 'warning', 'failure'] as const)
    await sendAlarms(settings({ pings }), makeStepReport({ outcome }), surroundings);
  assert.deepEqual(
    requests.map(({ path }) => path),
    ['/ping/uuid/start?rid=1', '/ping/uuid?rid=1', '/ping/uuid?rid=1', '/ping/uuid/fail?rid=1'],
  );
  assert.match(requests[0]!.body, /^backup of web on db-1 begins$/);
  assert.match(requests[3]!.body, /^backup of web on db-1 FAILED\nCannot open the repository/);
});

test('what may pass is tried again, with longer pauses; what will not, is not', async (t) => {
  const { url, requests, answers } = await startHttpReceiver(t);
  pauses.length = 0;
  answers.push({ status: 503 }, { status: 429, headers: { 'retry-after': '9' } });
  assert.deepEqual(
    await sendAlarms(settings({ webhooks: [webhook(url)] }), makeStepReport(), surroundings),
    [],
  );
  assert.equal(requests.length, 3);
  assert.ok(pauses[0]! >= 1000 && pauses[0]! <= 1250);
  assert.ok(pauses[1]! >= 9000 && pauses[1]! <= 11_250);

  answers.push({ status: 404 }, { status: 200 });
  const [refused] = await sendAlarms(settings({ webhooks: [webhook(url)] }), makeStepReport(), surroundings);
  assert.match(refused!, /webhook \(generic\) was not given by 127\.0\.0\.1:\d+: it answered 404$/);
  assert.equal(requests.length, 4);
  answers.length = 0;

  answers.push({ status: 500 }, { status: 500 }, { status: 500 }, { status: 500 });
  const [tired] = await sendAlarms(settings({ pings: [ping(url)] }), makeStepReport(), surroundings);
  assert.match(tired!, /it answered 500$/);
  assert.equal(requests.length, 7);
});

test('a redirection is not followed, and a server that does not answer is not waited for', async (t) => {
  const { url, requests, answers } = await startHttpReceiver(t);
  answers.push({ status: 302, headers: { location: `${url}/elsewhere` } });
  const [redirected] = await sendAlarms(settings({ pings: [ping(url)] }), makeStepReport(), surroundings);
  assert.match(redirected!, /redirects/);
  answers.push({ status: 0 });
  const slow = ping(url, { timeoutMs: 200, attempts: 1 });
  const [late] = await sendAlarms(settings({ pings: [slow] }), makeStepReport(), surroundings);
  assert.match(late!, /no answer within 0\.2 seconds/);
  assert.ok(requests.every(({ path }) => path === '/' || path === '/fail'));
});

test('a broken alarm is reported without its secrets, and the others are given', async (t) => {
  const { url, requests } = await startHttpReceiver(t);
  const closed = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => closed.once('listening', resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  const broken = {
    webhooks: [
      webhook(`http://127.0.0.1:${port}/services/SECRET`, { kind: 'slack' }),
      webhook('https://user:SECRET@127.0.0.1/x'),
      webhook('not a SECRET url'),
      webhook(url, { url: () => Promise.reject(new SalvageError('failed', 'Cannot read "url.txt": gone')) }),
      webhook(url, { url: () => Promise.reject(new TypeError('SECRET')) }),
      webhook(url, { headers: { 'x-bad': 'ä€SECRET' } }),
      webhook(url, { token: secret('SECRET\u0001SECRET') }),
      webhook(`${url}/good`),
    ],
    pings: [ping(`http://127.0.0.1:${port}/SECRET`)],
  };
  const troubles = await sendAlarms(settings(broken), makeStepReport(), surroundings);
  assert.equal(troubles.length, 8);
  assert.ok(!troubles.join('\n').includes('SECRET'), troubles.join('\n'));
  assert.match(troubles[0]!, /^The alarm by ping was not given by 127\.0\.0\.1:\d+: ECONNREFUSED$/);
  assert.ok(troubles.some((trouble) => trouble.endsWith('Cannot read "url.txt": gone')));
  assert.deepEqual(
    requests.map(({ path }) => path),
    ['/good'],
  );
});

test('an interrupted run does not wait for alarms', async (t) => {
  const { url, answers } = await startHttpReceiver(t);
  answers.push({ status: 0 });
  const controller = new AbortController();
  const sending = sendAlarms(
    settings({ pings: [ping(url)] }),
    makeStepReport(),
    surroundings,
    controller.signal,
  );
  controller.abort(new SalvageError('interrupted', 'Interrupted'));
  await assert.rejects(sending, { code: 'interrupted' });
});

test('e-mail by SMTP on this machine', async (t) => {
  const server = await startSmtpReceiver(t);
  server.refusals.set('MAIL', ['451 later']);
  const emails = [email({ smtp: `smtp://127.0.0.1:${server.port}` })];
  const report = makeStepReport({ message: '.\nCannot read "ü"', name: 'web' });
  assert.deepEqual(await sendAlarms(settings({ emails }), report, surroundings), []);
  assert.equal(server.mails.length, 1);
  const { from, to, text, login } = server.mails[0]!;
  assert.equal(from, 'salvage@db-1.example.org');
  assert.deepEqual(to, ['ops@example.org', 'second@example.org']);
  assert.equal(login, undefined);
  assert.match(text, /^Subject: \[salvage\] backup of web on db-1 FAILED\r$/m);
  assert.match(text, /^Auto-Submitted: auto-generated\r$/m);
  assert.match(text, /^To: ops@example\.org, =\?UTF-8\?/m);
  assert.match(text, /Cannot read/);

  server.refusals.set('RCPT', ['550 nobody of this name SECRET', '550 nor of this']);
  const [refused] = await sendAlarms(settings({ emails }), makeStepReport(), surroundings);
  assert.match(
    refused!,
    /^The alarm by e-mail was not given by 127\.0\.0\.1:\d+: it refused the mail \(550\)$/,
  );
});

test('sendmail gets the mail on its standard input', async (t) => {
  const folder = temporaryFolder(t);
  const sendmail = join(folder, 'sendmail');
  writeFileSync(sendmail, `#!/bin/sh\necho "$@" > ${folder}/args\ncat > ${folder}/mail\n`);
  chmodSync(sendmail, 0o755);
  assert.deepEqual(
    await sendAlarms(settings({ emails: [email({ sendmail })] }), makeStepReport(), surroundings),
    [],
  );
  assert.equal(readFileSync(join(folder, 'args'), 'utf8'), '-t -i\n');
  const mail = readFileSync(join(folder, 'mail'), 'utf8');
  assert.match(mail, /^From: salvage@db-1\.example\.org\n/m);
  assert.match(mail, /\n\nCannot open the repository/);
  assert.ok(!mail.includes('\r'));

  const [missing] = await sendAlarms(settings({ emails: [email({})] }), makeStepReport(), surroundings);
  assert.match(missing!, /by \/nonexistent\/sendmail: the program could not be started/);
});

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-alarms-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}
