import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readPublicFile, readSecretFile, writeNewKeyFile } from './key-file.ts';
import { keyPaths } from './key-paths.ts';
import { loadSigner } from './load-signer.ts';
import { makeIdentity } from './make-identity.ts';
import { makeSigningKey } from './make-signing-key.ts';
import { fingerprint, parsePublicKeyLine } from '../ssh/public-key.ts';

const folder = mkdtempSync(join(tmpdir(), 'salvage-keys-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const never = (): Promise<string> => assert.fail('asked for a passphrase');
const clock = { now: () => new Date('2026-11-23T09:00:00.123Z'), monotonicMs: () => 0 };

test('paths follow the XDG variables', () => {
  assert.equal(keyPaths({ HOME: '/home/me' }).signingKey, '/home/me/.config/salvage/signing-key');
  assert.equal(keyPaths({ HOME: '/home/me', XDG_CONFIG_HOME: '/cfg' }).identity, '/cfg/salvage/identity.txt');
  assert.equal(
    keyPaths({ HOME: '/home/me', XDG_CONFIG_HOME: 'relative' }).folder,
    '/home/me/.config/salvage',
  );
  assert.equal(keyPaths({ XDG_CONFIG_HOME: '/cfg' }).recipients, '/cfg/salvage/recipients.txt');
  for (const env of [{}, { HOME: '' }, { HOME: 'relative' }])
    assert.throws(() => keyPaths(env), { code: 'usage' });
});

test('a key file is new, private, whole, and alone in a private folder', () => {
  const path = join(folder, 'a', 'b', 'key');
  writeNewKeyFile(path, 'secret');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(join(folder, 'a', 'b')).mode & 0o777, 0o700);
  assert.throws(() => writeNewKeyFile(path, 'other'), {
    code: 'bad-key',
    message: /there is a file already/,
  });
  assert.equal(readFileSync(path, 'utf8'), 'secret');
  assert.deepEqual(readdirSync(join(folder, 'a', 'b')), ['key']);
  assert.throws(() => writeNewKeyFile(join(path, 'below-a-file'), 'x'), { code: 'failed' });
});

test('a secret file that others may read is refused with the command to run', () => {
  const path = join(folder, 'open');
  writeFileSync(path, 'secret');
  for (const mode of [0o640, 0o604, 0o620, 0o644, 0o777]) {
    chmodSync(path, mode);
    assert.throws(() => readSecretFile(path, 100), { code: 'bad-key', hint: `Run: chmod 600 "${path}"` });
    assert.equal(Buffer.from(readPublicFile(path, 100)).toString(), 'secret');
  }
  for (const mode of [0o600, 0o400, 0o700]) {
    chmodSync(path, mode);
    assert.equal(Buffer.from(readSecretFile(path, 6)).toString(), 'secret');
  }
  assert.throws(() => readSecretFile(path, 5), { code: 'bad-key', message: /longer than 5 bytes/ });
  assert.throws(() => readSecretFile(join(folder, 'missing'), 5), {
    code: 'failed',
    message: /no such file/,
  });
  assert.throws(() => readSecretFile(folder, 5), { code: 'failed' });
});

test('a signing key is made once and signs', async () => {
  const path = join(folder, 'signing-key');
  const publicKey = await makeSigningKey(path, { comment: 'web-1' });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(`${path}.pub`).mode & 0o777, 0o644);
  const parsed = parsePublicKeyLine(readFileSync(`${path}.pub`, 'utf8'))!;
  assert.deepEqual([fingerprint(parsed.key), parsed.comment], [fingerprint(publicKey), 'web-1']);
  await assert.rejects(makeSigningKey(path, { comment: '' }), { code: 'bad-key' });
  rmSync(path);
  await assert.rejects(makeSigningKey(path, { comment: '' }), {
    code: 'bad-key',
    message: /signing-key\.pub"/,
  });
  await assert.rejects(makeSigningKey(join(folder, 'x'), { comment: 'a\nb' }), { code: 'usage' });
});

test('a signer is loaded from a private key, asking only for an encrypted one', async () => {
  const [clear, locked] = [join(folder, 'clear'), join(folder, 'locked')];
  await makeSigningKey(clear, { comment: '' });
  const publicKey = await makeSigningKey(locked, { comment: '', passphrase: 'p', rounds: 1 });
  await loadSigner(clear, { requestPassphrase: never, agentSocket: undefined });
  const signer = await loadSigner(locked, {
    requestPassphrase: async (prompt) => (assert.match(prompt, /locked"$/), 'p'),
    agentSocket: join(folder, 'no-agent'),
  });
  assert.equal(fingerprint(signer.publicKey), fingerprint(publicKey));
  const wrong = { requestPassphrase: async () => 'q', agentSocket: undefined };
  await assert.rejects(loadSigner(locked, wrong), { code: 'bad-key', message: /the passphrase is wrong/ });
  chmodSync(clear, 0o644);
  const none = { requestPassphrase: never, agentSocket: undefined };
  await assert.rejects(loadSigner(clear, none), { code: 'bad-key', message: /lets others at it/ });
  rmSync(clear);
  for (const path of [clear, `${clear}.pub`])
    await assert.rejects(loadSigner(path, none), { code: 'bad-key', message: /no ssh-agent runs/ });
  await assert.rejects(loadSigner(join(folder, 'missing'), none), { code: 'failed' });
});

test('an age identity file', () => {
  const path = join(folder, 'identity.txt');
  const recipient = makeIdentity(path, clock);
  assert.match(recipient, /^age1[0-9a-z]{58}$/);
  assert.match(
    readFileSync(path, 'utf8'),
    new RegExp(
      `^# created: 2026-11-23T09:00:00Z\n# public key: ${recipient}\nAGE-SECRET-KEY-1[0-9A-Z]{58}\n$`,
    ),
  );
  assert.match(makeIdentity(join(folder, 'pq.txt'), clock, 'hybrid'), /^age1pq1/);
  assert.throws(() => makeIdentity(path, clock), { code: 'bad-key' });
});

test('a private key may come through a pipe', () => {
  const script = `import { readSecretFile } from ${JSON.stringify(join(import.meta.dirname, 'key-file.ts'))};
    process.stdout.write(readSecretFile('/dev/stdin', 100));`;
  const pipeline = 'printf secret | "$0" --input-type=module -e "$1"';
  assert.equal(execFileSync('sh', ['-c', pipeline, process.execPath, script]).toString(), 'secret');
});
