import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sshCommandLine } from './ssh-command.ts';
import { describeSshEnd } from './ssh-failure.ts';
import { parseSshUrl } from './ssh-target.ts';

for (const [url, user, host, port, path] of [
  ['sftp://host', undefined, 'host', undefined, undefined],
  ['sftp://host/', undefined, 'host', undefined, ''],
  ['sftp://me@host/a/b', 'me', 'host', undefined, 'a/b'],
  ['sftp://me@host:2222//srv/x', 'me', 'host', 2222, '/srv/x'],
  ['sftp://[::1]:22/x', undefined, '::1', 22, 'x'],
  ['sftp://me%40corp@host/a%20b', 'me@corp', 'host', undefined, 'a b'],
] as const)
  test(`the parts of ${url}`, () =>
    assert.deepEqual(parseSshUrl(url), { target: { host, port, user }, path }));

test('a URL that would make ssh do something else is refused', () => {
  for (const url of [
    'sftp://',
    'sftp:///path',
    'sftp://-oProxyCommand=id/x',
    'sftp://-l@host/x',
    'sftp://%2dx@host/x',
    'sftp://me:secret@host/x',
    'sftp://host:0/x',
    'sftp://host:65536/x',
    'sftp://ho%st/x',
    'sftp://host/%zz',
    'sftp://host/%00',
    'sftp://a b/x',
    'sftp://host;id/x',
    'sftp://`id`/x',
  ])
    assert.equal(typeof parseSshUrl(url), 'string', url);
});

test('the words of the user come first, ours after them, the host behind all options', () => {
  const target = { host: 'host', port: 2222, user: 'me' };
  const line = sshCommandLine({ sshCommand: 'ssh -F "a b"', env: { SALVAGE_SSH: 'other' } }, target, {
    subsystem: 'sftp',
  });
  assert.deepEqual(line.slice(0, 3), ['ssh', '-F', 'a b']);
  assert.deepEqual(line.slice(-8), ['-p', '2222', '-l', 'me', '-s', '--', 'host', 'sftp']);
  assert.ok(line.includes('BatchMode=yes'));
  const fromEnvironment = sshCommandLine({ env: { SALVAGE_SSH: 'other -x' }, isInteractive: true }, target, {
    command: 'salvage serve',
  });
  assert.deepEqual(fromEnvironment.slice(0, 2), ['other', '-x']);
  assert.ok(!fromEnvironment.includes('BatchMode=yes'));
  assert.equal(sshCommandLine({ env: { SALVAGE_SSH: '' } }, target, { subsystem: 'sftp' })[0], 'ssh');
});

for (const [said, isTransient, hint] of [
  ['Host key verification failed.', false, /fingerprint/],
  ['me@host: Permission denied (publickey).', false, /ssh -p 2222 me@host -v/],
  ['ssh: Could not resolve hostname hots: Name or service not known', false, /name of the host/],
  ['ssh: Could not resolve hostname host: Temporary failure in name resolution', true, undefined],
  ['ssh: connect to host host port 22: Connection refused', true, undefined],
  ['kex_exchange_identification: read: Connection reset by peer', true, undefined],
  ['client_loop: send disconnect: Broken pipe', true, undefined],
  ['subsystem request failed on channel 0', false, /Subsystem sftp/],
  ['Bad owner or permissions on /home/me/.ssh/config', false, undefined],
] as const)
  test(`what "${said}" means`, () => {
    const target = { host: 'host', port: 2222, user: 'me' };
    const failure = describeSshEnd(target, said, { code: 255, signal: null }, false);
    assert.equal(failure.isTransient, isTransient);
    assert.ok(failure.message.includes(said.slice(0, 40)));
    if (hint) assert.match(failure.hint ?? '', hint);
    else assert.equal(failure.hint, undefined);
  });

test('a connection that has worked and ends without a word was cut', () => {
  const target = { host: 'host', port: undefined, user: undefined };
  const exit = { code: null, signal: 'SIGKILL' };
  assert.equal(describeSshEnd(target, '', exit, true).isTransient, true);
  assert.equal(describeSshEnd(target, '', exit, false).isTransient, false);
});

test('what another machine says is one bounded line', () => {
  const target = { host: 'host', port: undefined, user: undefined };
  const said = `\u001b[2J${'x\n'.repeat(100_000)}`;
  const { message } = describeSshEnd(target, said, { code: 1, signal: null }, true);
  assert.ok(message.length < 500);
  // eslint-disable-next-line no-control-regex
  assert.doesNotMatch(message, /[\u0000-\u001f]/);
});
