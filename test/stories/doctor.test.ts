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
  assert.equal((await box.salvage(['doctor'])).code, 2);
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
