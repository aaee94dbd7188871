// seal -o URL and open URL, with real programs on the other side.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import {
  CreateBucketCommand,
  GetObjectRetentionCommand,
  ListObjectsV2Command,
  type S3Client,
} from '@aws-sdk/client-s3';
import { startCephGateway, type CephGateway } from '../support/ceph-gateway.ts';
import { createSandbox, salvage, type RunResult, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';

suite('archives in storage', needsPeers, () => {
  const box: Sandbox = createSandbox({ after });
  let sshd: TestSshd;
  let gateway: CephGateway;
  let s3: S3Client;
  let env: Record<string, string>;

  const cleanUp: (() => Promise<void>)[] = [];
  after(async () => {
    for (const work of cleanUp) await work();
  });
  before(async () => {
    sshd = await startSshd({ after: (work) => void cleanUp.push(work) });
    gateway = await startCephGateway();
    cleanUp.push(() => gateway.close());
    const user = gateway.createUser('owner');
    s3 = gateway.client(user);
    await s3.send(new CreateBucketCommand({ Bucket: 'archives' }));
    await s3.send(new CreateBucketCommand({ Bucket: 'locked', ObjectLockEnabledForBucket: true }));
    mkdirSync(box.path('by-ssh'));
    // Two keys, for sftp and for the door.
    const door = sshd.addClient(
      'door',
      `command="${salvage} serve --stdio --root ${box.path('by-ssh')}",restrict`,
    );
    box.write(
      'ssh',
      `#!/bin/sh\ncase "$*" in *sftp*) exec ${sshd.client.sshCommand} "$@";; *) exec ${door.sshCommand} "$@";; esac\n`,
      0o755,
    );
    env = {
      RCLONE_CONFIG: box.path('rclone.conf'),
      SALVAGE_SSH: box.path('ssh'),
      ...gateway.environment(user),
    };
    box.write('rclone.conf', '[disk]\ntype = local\n');
    for (let index = 0; index < 30; index++) box.write(`src/d${index % 3}/f${index}`, `content ${index}\n`);
    box.write('src/noise', randomBytes(6_000_000));
    await run(
      'ssh-keygen -q -t ed25519 -N "" -f id; ssh-keygen -q -t ed25519 -N "" -f signer; echo "host $(cat signer.pub)" > allowed',
    );
  });

  async function run(script: string, code = 0): Promise<RunResult> {
    const result = await box.shell(script, { env });
    assert.equal(result.code, code, result.stderr);
    return result;
  }

  /** With the folder where stock tools see what is stored. */
  const places = (): [name: string, url: string, folder?: string][] => [
    ['file', `file://${box.path('by-file')}`, box.path('by-file')],
    ['rclone', `rclone:disk:${box.path('by-rclone')}`, box.path('by-rclone')],
    ['sftp', sshd.url('by-sftp'), `${sshd.folder}/by-sftp`],
    ['ssh', sshd.url('').replace('sftp:', 'ssh:').replace(/\/$/, ''), box.path('by-ssh')],
    ['s3', 's3://archives/by-s3'],
  ];

  test('sealed to a URL, found by stock tools, opened from it, signed or not', async () => {
    for (const [name, url, folder] of places()) {
      await run(`salvage seal src -R id.pub --signing-key signer -o ${url}/a.tar.zst.age`);
      if (folder !== undefined) {
        assert.deepEqual(
          readdirSync(folder).filter((each) => !each.startsWith('.')),
          ['a.tar.zst.age', 'a.tar.zst.age.sig'],
        );
        await run(
          `ssh-keygen -Y verify -f allowed -I host -n salvage-archive -s ${folder}/a.tar.zst.age.sig < ${folder}/a.tar.zst.age`,
        );
      }
      const opened = `salvage open ${url}/a.tar.zst.age -i id`;
      await run(`${opened} -C opened-${name} --allowed-signers allowed --signer host`);
      await run(`diff -r src opened-${name}/src`);
      const again = await run(`salvage seal src -R id.pub -o ${url}/a.tar.zst.age --force`, 1);
      assert.match(again.stderr, /there already[^]*never replaced/);
    }
  });

  test('opened without looking at the signature, listed, or refused for want of one', async () => {
    const url = `file://${box.path('by-file')}`;
    await run(`salvage open ${url}/a.tar.zst.age -i id -C plain; diff -r src plain/src`);
    const { stdout } = await run(`salvage open ${url}/a.tar.zst.age -i id --list src/d1`);
    assert.match(stdout.toString(), /src\/d1\/f1\n/);
    await run(`salvage seal src/d1 -R id.pub -o ${url}/unsigned.age`);
    const unsigned = `salvage open ${url}/unsigned.age -i id --allowed-signers allowed --signer host`;
    assert.match((await run(`${unsigned} -C x`, 13)).stderr, /there is none beside/);
    // A signature may lie elsewhere, and must be the archive's own.
    const other = await run(`${unsigned} --signature ${url}/a.tar.zst.age.sig -C x`, 13);
    assert.match(other.stderr, /signature/);
    assert.ok(!existsSync(box.path('x')));
    await run(`salvage open ${url}/missing.age -i id -C x`, 1);
  });

  test('locked for so many days in a bucket with Object Lock, and refused elsewhere', async () => {
    const seal = 'salvage seal src -R id.pub --threads 1';
    const place = 's3://locked/web-1/src.tar.zst.age?part-size=5M';
    const { stderr } = await run(
      `${seal} --signing-key signer --lock-days 7 --lock-mode governance -o '${place}'`,
    );
    assert.match(stderr, /Only who may bypass governance can destroy it before \d{4}-/);
    const leastMs = Date.now() + 6.9 * 86_400_000;
    for (const Key of ['web-1/src.tar.zst.age', 'web-1/src.tar.zst.age.sig']) {
      const { Retention } = await s3.send(new GetObjectRetentionCommand({ Bucket: 'locked', Key }));
      assert.equal(Retention?.Mode, 'GOVERNANCE');
      const untilMs = Retention.RetainUntilDate!.getTime();
      assert.ok(untilMs > leastMs && untilMs < leastMs + 86_400_000, `${Key} until ${untilMs}`);
    }
    await run(
      `salvage open '${place}' -i id -C locked --allowed-signers allowed --signer host && diff -r src locked/src`,
    );

    const refused = async (output: string, code: number, message: RegExp): Promise<void> =>
      assert.match((await run(`${seal} --lock-days 7 -o ${output}`, code)).stderr, message);
    await refused('here.age', 2, /Cannot lock "here\.age": it is not in a bucket/);
    await refused(sshd.url('there.age'), 2, /this kind of storage has no locks/);
    await refused('s3://archives/there.age', 1, /the bucket has no Object Lock/);
    const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket: 'archives', Prefix: 'there' }));
    assert.equal(Contents, undefined);
    await run(`${seal} --lock-mode governance -o s3://locked/x.age`, 2);
  });

  test('a URL that ends in a slash gets the usual name, a name that no object has is refused', async () => {
    const { stdout } = await run(`salvage seal src/d1 -R id.pub -o file://${box.path('usual')}/ --json`);
    const { archive } = JSON.parse(stdout.toString()) as { archive: string };
    assert.match(archive, /\/usual\/[\w-]+-backup-\d{4}-\d\d-\d\d\.tar\.zst\.age$/);
    assert.ok(existsSync(archive));
    await run(`salvage seal src/d1 -R id.pub -o file://${box.path('usual')}/.hidden`, 2);
    await run(`salvage open rclone:disk: -i id`, 2);
  });

  test('an upload that is killed leaves nothing that looks whole', async () => {
    for (const [name, url, folder] of places()) {
      if (folder === undefined) continue;
      const target = `${url}/killed.age`;
      const before = filesBelow(folder);
      const upload = spawn(salvage, ['seal', 'src', '-R', 'id.pub', '-o', target], {
        cwd: box.folder,
        env: await environment(),
        stdio: 'ignore',
      });
      const ended = once(upload, 'exit');
      while (filesBelow(folder) <= before && upload.exitCode === null) await setTimeout(1);
      upload.kill('SIGKILL');
      await ended;
      // On a fast machine it may have come to its end.
      if (!existsSync(`${folder}/killed.age`)) await run(`salvage seal src/d1 -R id.pub -o ${target}`);
      assert.equal((await run(`salvage open ${target} -i id --test`)).code, 0, name);
    }
  });

  async function environment(): Promise<Record<string, string>> {
    const lines = (await run('env -0')).stdout.toString().split('\0');
    return Object.fromEntries(
      lines
        .filter((line) => line.includes('='))
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
  }

  function filesBelow(folder: string): number {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).length;
  }
});
