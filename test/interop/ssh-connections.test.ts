// What is the system's ssh's own affair stays so: jump hosts, an agent and a program that asks for passphrases, for
// sftp:// and ssh:// alike.
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { systemClock } from '../../src/clock/clock.ts';
import { openStorage } from '../../src/storage/open-storage.ts';
import { createSandbox, salvage } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';
import { startSshd, type SshClient, type TestSshd } from '../support/sshd.ts';

suite('through the ssh of the system', needsPeers, () => {
  const box = createSandbox({ after });
  const cleanUp: (() => Promise<void>)[] = [];
  let target: TestSshd;
  let door: SshClient;
  let doorOptions: string;
  after(async () => {
    for (const work of cleanUp) await work();
  });
  before(async () => {
    target = await startSshd({ after: (work) => void cleanUp.push(work) });
    mkdirSync(box.path('served'));
    const command = `${salvage} serve --stdio --root ${box.path('served')} --append-only`;
    doorOptions = `command="${command}",restrict`;
    door = target.addClient('door', doorOptions);
  });

  /** A block of ssh_config: how to get to a server, under a name that only the configuration knows. */
  function hostBlock(name: string, sshd: TestSshd, { keyFile }: SshClient, ...lines: string[]): string {
    const knownHosts = join(dirname(sshd.client.keyFile), '..', 'known_hosts');
    return [
      `Host ${name}`,
      `HostName ${sshd.host}`,
      `Port ${sshd.port}`,
      `User ${sshd.user}`,
      `IdentityFile ${keyFile}`,
      'IdentitiesOnly yes',
      `UserKnownHostsFile ${knownHosts}`,
      'StrictHostKeyChecking yes',
      ...lines,
      '',
    ].join('\n');
  }

  /** Stores an object through `sftp://files/` and one through `ssh://door/`, and looks at both. */
  async function storeBoth(name: string, config: string, env: Record<string, string> = {}): Promise<void> {
    const SALVAGE_SSH = `ssh -F ${box.write(`${name}.config`, config)}`;
    for (const url of ['sftp://files/', 'ssh://door/']) {
      const storage = await openStorage(url, {
        env: { PATH: process.env['PATH'], ...env, SALVAGE_SSH },
        clock: systemClock,
      });
      assert.equal(await storage.create(`${name}.age`, [Buffer.from(name)]), 'created', url);
      assert.equal((await storage.stat(`${name}.age`))?.sizeBytes, name.length, url);
      await storage.close();
    }
    assert.ok(existsSync(join(target.folder, `${name}.age`)));
    assert.ok(existsSync(box.path('served', `${name}.age`)));
  }

  test('a jump host', async (t) => {
    const jump = await startSshd(t, { forwards: true });
    const through = 'ProxyJump jump';
    await storeBoth(
      'jumped',
      hostBlock('jump', jump, jump.client) +
        hostBlock('files', target, target.client, through) +
        hostBlock('door', target, door, through),
    );
    assert.equal(jump.log().match(/Accepted publickey/g)?.length, 2, jump.log());
  });

  test('keys that only an agent has', async (t) => {
    const socket = box.path('agent');
    const agent: ChildProcess = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' });
    t.after(() => agent.kill());
    while (!existsSync(socket)) await setTimeout(10);
    const env = { SSH_AUTH_SOCK: socket };
    const keys = [target.addClient('agent-files'), target.addClient('agent-door', doorOptions)];
    for (const { keyFile } of keys) {
      const { status, stderr } = spawnSync('ssh-add', ['-q', keyFile], { env: { ...process.env, ...env } });
      assert.equal(status, 0, String(stderr));
      // The public half says which key of the agent is meant.
      rmSync(keyFile);
      renameSync(`${keyFile}.pub`, keyFile);
    }
    await storeBoth('agent', hostBlock('files', target, keys[0]!) + hostBlock('door', target, keys[1]!), env);
  });

  test('passphrases that a program tells', async () => {
    for (const { keyFile } of [target.client, door]) {
      const { status } = spawnSync('ssh-keygen', ['-q', '-p', '-N', 'open sesame', '-P', '', '-f', keyFile]);
      assert.equal(status, 0);
    }
    const config = hostBlock('files', target, target.client) + hostBlock('door', target, door);
    const told = box.path('asked');
    const SSH_ASKPASS = box.write('askpass', `#!/bin/sh\necho "$1" >> ${told}\necho open sesame\n`, 0o755);
    await storeBoth('asked', config, { SSH_ASKPASS, SSH_ASKPASS_REQUIRE: 'force' });
    assert.match(
      box.read('asked').toString(),
      /^Enter passphrase for key .*\nEnter passphrase for key .*\n$/,
    );
    // Nobody is there to be asked, and nobody waits.
    await assert.rejects(storeBoth('silent', config), /does not let us in/);
  });
});
