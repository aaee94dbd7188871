// Another SFTP server than OpenSSH's: the Go library that rclone and others serve with, which promises links and makes none.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { systemClock } from '../../src/clock/clock.ts';
import { openSftpStorage } from '../../src/storage/sftp/open-sftp-storage.ts';
import { createSandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';
import { freePort } from '../support/free-port.ts';
import { greetsAsSsh } from '../support/sshd.ts';

test("objects go to rclone's SFTP server and come back", needsPeers, async (t) => {
  const box = createSandbox(t);
  const key = box.path('key');
  assert.equal(spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]).status, 0);
  mkdirSync(box.path('data'));
  const port = await freePort();
  const server = spawn(
    '/usr/bin/rclone',
    [
      'serve',
      'sftp',
      box.path('data'),
      '--addr',
      `127.0.0.1:${port}`,
      '--user',
      'me',
      '--authorized-keys',
      `${key}.pub`,
    ],
    {
      stdio: 'ignore',
      env: { ...process.env, HOME: box.path('.home'), RCLONE_CONFIG: box.path('rclone.conf') },
    },
  );
  t.after(async () => {
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
  });
  while (!(await greetsAsSsh('127.0.0.1', port))) {
    assert.equal(server.exitCode, null);
    await setTimeout(20);
  }
  const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'IdentitiesOnly=yes'];
  const sshCommand = `ssh -F /dev/null -i ${key} ${options.map((option) => `-o ${option}`).join(' ')}`;
  const settings = { env: process.env, clock: systemClock, sshCommand };
  const storage = await openSftpStorage(`sftp://me@127.0.0.1:${port}//repo`, settings);
  t.after(async () => await storage.close());
  assert.deepEqual(storage.capabilities, { exclusiveCreate: false, remove: true });
  const bodies = [Buffer.alloc(3_000_000, 1), Buffer.alloc(0), Buffer.from('small')];
  const names = ['packs/aa/big', 'packs/aa/empty', 'small'];
  for (const [index, name] of names.entries())
    assert.equal(await storage.create(name, [bodies[index]!]), 'created');
  assert.equal(await storage.create('small', [Buffer.from('other')]), 'exists');
  await storage.settle();
  const listed: string[] = [];
  for await (const { name, sizeBytes } of storage.list('')) {
    assert.equal(sizeBytes, bodies[names.indexOf(name)]!.length);
    listed.push(name);
  }
  assert.deepEqual(listed, names);
  for (const [index, name] of names.entries()) assert.ok(bodies[index]!.equals((await storage.read(name))!));
  assert.equal(await storage.remove('small'), 'removed');
  assert.equal(await storage.stat('small'), undefined);
});
