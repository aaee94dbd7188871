import assert from 'node:assert/strict';
import { chownSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { createSandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';
import { needsRoot, startSshd } from '../support/sshd.ts';

interface Report {
  readonly fit: boolean;
  readonly mayRemove: boolean;
  readonly objectsLeft: number;
  readonly findings: readonly { readonly id: string; readonly state: string }[];
}

test('a folder is fit, and as empty afterwards as before', async (t) => {
  const box = createSandbox(t);
  const { code, stdout, stderr } = await box.salvage(['doctor', '--repo', 'repo', '--thorough']);
  assert.equal(code, 0, stderr);
  assert.match(stdout.toString(), /^this account may remove +yes +right for a keeper/m);
  assert.match(
    stdout.toString(),
    /^a listing of many objects is complete, with their sizes +yes +1100 objects$/m,
  );
  assert.match(stdout.toString(), /^throughput +\d/m);
  assert.match(stderr, /does what backups need/);
  assert.deepEqual(
    readdirSync(box.path('repo')).filter((name) => name !== '.incoming'),
    [],
  );
});

test('a storage that keeps nothing is not recommended', async (t) => {
  const box = createSandbox(t);
  writeFileSync(box.path('file'), 'no folder');
  const { code, stdout, stderr } = await box.salvage(['doctor', '--repo', 'file']);
  assert.equal(code, 1);
  assert.match(stdout.toString(), /^an object can be stored +NO +Cannot store/m);
  assert.match(stderr, /Cannot recommend/);
});

test(
  'an add-only account of OpenSSH is recognised as one',
  needsPeers.skip ? needsPeers : needsRoot,
  async (t) => {
    const box = createSandbox(t);
    const requests =
      'open,close,read,write,lstat,stat,fstat,opendir,readdir,realpath,fsync,statvfs,limits,hardlink';
    const sshd = await startSshd(t, { confined: { sftpArguments: `-u 0222 -p ${requests}` } });
    const { stdout: ids } = await box.shell(`id -u ${sshd.user}`);
    for (const name of ['host', 'host/.incoming']) {
      mkdirSync(`${sshd.folder}/${name}`);
      chownSync(`${sshd.folder}/${name}`, Number(ids), -1);
    }
    const args = ['doctor', '--repo', sshd.url('host'), '--ssh-command', sshd.client.sshCommand];
    const { code, stdout, stderr } = await box.salvage([...args, '--json']);
    assert.equal(code, 0, stderr);
    const report = JSON.parse(stdout.toString()) as Report;
    assert.deepEqual([report.fit, report.mayRemove], [true, false]);
    assert.ok(report.objectsLeft > 0);
    assert.equal(report.findings.find(({ id }) => id === 'remove')?.state, 'no');
    assert.match(stderr, /may only add/);
  },
);

test('keys are looked at without a repository: what they are, what keeps them, when they were last tried', async (t) => {
  const box = createSandbox(t);
  const nothing = await box.salvage(['doctor']);
  assert.equal(nothing.code, 0, nothing.stderr);
  assert.match(nothing.stderr, /salvage quickstart DIR makes keys/);
  const { code, stderr } = await box.shell(`mkdir src && echo content > src/file
    ssh-keygen -q -t ed25519 -a 3 -N passphrase -f weak; ssh-keygen -q -t rsa -b 2048 -N '' -f short
    salvage keygen --pq -o pq.key 2> pq.txt; salvage keygen -o key 2> key.txt; salvage keygen -y key > key.pub
    echo passphrase > passphrase; salvage encrypt -p --passphrase-file passphrase -o kept.age key
    salvage init -q --repo repo -R key.pub --name host > allowed
    salvage backup -q --repo repo src
    salvage drill -q --repo repo -i key --allowed-signers allowed`);
  assert.equal(code, 0, stderr);
  const flags = ['weak', 'short', 'pq.key', 'kept.age', 'gone'].flatMap((key) => ['-i', key]);
  const looked = await box.salvage(['doctor', '--keys', ...flags]);
  assert.equal(looked.code, 0, looked.stderr);
  const table = looked.stdout.toString();
  const row = (name: string): string => table.split('\n').find((line) => line.includes(`/${name} `)) ?? '';
  assert.match(row('signing-key'), /signs snapshots +ssh-ed25519 +Ed25519, 128 bits +- +none +0600 +-$/);
  assert.match(row('key'), /restores +X25519 +X25519, 128 bits +no +none +0600 +\d{4}-\d\d-\d\d$/);
  assert.match(row('weak'), /ssh-ed25519 .* by anybody +bcrypt, 3 rounds +0600 +never$/);
  assert.match(row('short'), /ssh-rsa +RSA, 2048 bits +by anybody +none/);
  assert.match(row('pq.key'), /post-quantum hybrid +ML-KEM-768 .* no +none/);
  assert.match(row('kept.age'), /age identity, encrypted .* scrypt, 2\^18 /);
  assert.match(row('gone'), /unusable/);
  assert.match(looked.stderr, /weak: Its passphrase is cheap to guess\. Run: ssh-keygen -p -a 256/);
  assert.match(looked.stderr, /short: RSA keys of 2048 bits are too short/);
  assert.doesNotMatch(table + looked.stderr, /AGE-SECRET-KEY/);

  await box.shell('chmod 640 key');
  const unsafe = await box.salvage(['doctor', '--keys', '--json']);
  assert.equal(unsafe.code, 1);
  assert.match(unsafe.stderr, /chmod 600 ".*\/key"/);
  const keys = unsafe.stdout
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { mode: string });
  assert.ok(keys.some(({ mode }) => mode === '0640'));
});
