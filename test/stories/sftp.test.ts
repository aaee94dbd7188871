// A host, its backups on a real SSH server, and what the manual says about them.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createSandbox, salvage, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';
import { needsRoot, startSshd, type TestSshd } from '../support/sshd.ts';

const page = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'manual', 'storage-sftp.md'), 'utf8');
const blocks = (kind: string): string[] =>
  [...page.matchAll(new RegExp(`^\`\`\`${kind}\\n([^]*?)^\`\`\`$`, 'gm'))].map(([, block]) => block!);
const [withMkdir, strict] = [...page.matchAll(/ForceCommand internal-sftp -d \/data (.*)$/gm)].map(
  ([, argument]) => argument!,
);
const trust = ['--allowed-signers', 'allowed_signers', '--signer', 'web-1'];

test('the commands of docs/manual/storage-sftp.md work', needsPeers, async (t) => {
  const sshd = await startSshd(t);
  const box = createSandbox(t);
  const own = readFileSync(sshd.client.sshCommand.split(' ').at(-1)!, 'utf8');
  const config = box.write(
    'ssh_config',
    `Host backup.example.org\n  HostName ${sshd.host}\n  Port ${sshd.port}\n  User ${sshd.user}\n${own}`,
  );
  const { code, stderr } = await box.shell(`set -x\n${blocks('sh').join('\n')}`, {
    env: { SALVAGE_SSH: `ssh -F ${config}` },
  });
  assert.equal(code, 0, stderr);
  assert.doesNotMatch(stderr, /^(salvage|warning):/m);
  assert.equal(box.read('restored/data/minutes.txt').toString(), 'the minutes of the meeting\n');
});

/** A host with a key, some files, and a repository at the server. */
async function setUp(box: Sandbox, sshd: TestSshd): Promise<NodeJS.ProcessEnv> {
  const env = { SALVAGE_SSH: sshd.client.sshCommand, SALVAGE_REPOSITORY: sshd.url('web-1') };
  const { code, stderr } = await box.shell(
    `ssh-keygen -q -t ed25519 -N '' -f key; salvage init -R key.pub --name web-1 > allowed_signers`,
    { env },
  );
  assert.equal(code, 0, stderr);
  for (let index = 0; index < 30; index++)
    box.write(`data/d${index % 3}/f${index}`, `file ${index}\n`.repeat(index));
  return env;
}

for (const [label, sftpArguments] of [
  ['with mkdir', withMkdir!],
  ['of the strict form', strict!],
] as const)
  test(
    `an add-only account ${label} takes backups, gives them back, and loses none`,
    needsRoot,
    async (t) => {
      const sshd = await startSshd(t, { confined: { sftpArguments } });
      const box = createSandbox(t);
      const repository = join(sshd.folder, 'web-1');
      if (label === 'of the strict form') {
        const { stderr } = await box.salvage(['init', '--repo', sshd.url('web-1'), '-r', 'age1x'], {
          env: { SALVAGE_SSH: sshd.client.sshCommand },
        });
        assert.doesNotMatch(stderr, /is not there/, 'keys are checked first');
        for (const folder of [repository, join(repository, '.incoming')]) {
          mkdirSync(folder, { mode: 0o700 });
          chownSync(folder, sshd.uid, -1);
        }
      }
      const env = await setUp(box, sshd);
      const run = async (...args: string[]): Promise<string> => {
        const { code, stdout, stderr } = await box.salvage(args, { env });
        assert.equal(code, 0, stderr);
        return `${stdout.toString()}${stderr}`;
      };
      await run('backup', 'data');
      box.write('data/new', 'more');
      assert.match(await run('backup', 'data'), /1 new.* 30 unchanged/);
      assert.match(await run('verify', ...trust), /2 snapshots with good signatures/);
      await run('restore', 'latest', '-i', 'key', ...trust, '--target', 'out');
      assert.equal(box.read('out/data/new').toString(), 'more');
      assert.equal(readdirSync(join(repository, '.incoming')).length > 0, true);

      // What the server's administrator does.
      const shell = async (script: string): Promise<void> => {
        const { code, stderr } = await box.shell(
          script
            .replaceAll('/srv/salvage/web-1/data', sshd.folder)
            .replaceAll('/srv/salvage/*/data', sshd.folder)
            .replaceAll('-mtime +1 ', ''),
        );
        assert.equal(code, 0, stderr);
      };
      for (const name of ['evil+..+..+..+up', '..+..+up', 'a++b', '+a', 'x+y\nz+../w'])
        writeFileSync(join(repository, name.replaceAll('/', '')), '');
      await shell(blocks('tidy')[0]!);
      assert.ok(!existsSync(join(sshd.folder, 'up')) && !existsSync(join(sshd.folder, '..', 'up')));
      await shell(blocks('clear')[0]!);
      assert.deepEqual(readdirSync(join(repository, '.incoming')), []);
      for (const name of ['README.txt', 'packs', 'index', 'snapshots', 'recover.py'])
        assert.ok(existsSync(join(repository, name)), name);
      const local = await box.salvage(['verify', '--repo', repository, ...trust]);
      assert.equal(local.code, 0, local.stderr);
      if (label !== 'of the strict form') return;
      box.write('data/newer', 'and more');
      await run('backup', 'data');
      assert.match(await run('verify', ...trust), /3 snapshots with good signatures/);
    },
  );

test('a server that is killed while a backup runs, and a backup that is killed', needsPeers, async (t) => {
  const sshd = await startSshd(t);
  const box = createSandbox(t);
  const env = await setUp(box, sshd);
  const incoming = join(sshd.folder, 'web-1', '.incoming');
  const isUploading = (): boolean =>
    existsSync(incoming) &&
    readdirSync(incoming).some(
      (name) => (statSync(join(incoming, name), { throwIfNoEntry: false })?.size ?? 0) > 1e6,
    );
  const start = async (): Promise<{ child: ReturnType<typeof spawn>; said: () => string }> => {
    const { HOME, ...rest } = { ...process.env, ...env, HOME: box.path('.home') };
    const child = spawn(salvage, ['backup', 'data'], {
      cwd: box.folder,
      env: {
        ...rest,
        HOME,
        XDG_CONFIG_HOME: box.path('.home/.config'),
        XDG_CACHE_HOME: box.path('.home/.cache'),
        XDG_STATE_HOME: box.path('.home/.local/state'),
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    // It is stopped, so that it is still uploading when the test gets its turn again.
    for (;;) {
      while (!isUploading()) {
        assert.equal(child.exitCode, null, said);
        await setTimeout(2);
      }
      child.kill('SIGSTOP');
      while (!/^State:\t[TZ]/m.test(readFileSync(`/proc/${child.pid}/status`, 'latin1'))) await setTimeout(2);
      if (isUploading()) return { child, said: () => said };
      child.kill('SIGCONT');
    }
  };

  box.write('data/big', randomBytes(20_000_000));
  const first = await start();
  await sshd.kill();
  await sshd.start();
  first.child.kill('SIGCONT');
  const [code] = (await once(first.child, 'close')) as [number];
  assert.equal(code, 0, first.said());
  assert.match(first.said(), /Trying again in/);
  assert.deepEqual(readdirSync(incoming), [], 'what was under way has come to its end');

  box.write('data/other', randomBytes(20_000_000));
  const second = await start();
  second.child.kill('SIGKILL');
  await once(second.child, 'close');
  const verified = await box.salvage(['verify', ...trust], { env });
  assert.equal(verified.code, 0, verified.stderr);
  const third = await box.salvage(['backup', 'data'], { env });
  assert.equal(third.code, 0, third.stderr);
  const restored = await box.salvage(['restore', 'latest', '-i', 'key', ...trust, '--target', 'out'], {
    env,
  });
  assert.equal(restored.code, 0, restored.stderr);
  for (const name of ['big', 'other', 'd1/f1'])
    assert.ok(box.read(`out/data/${name}`).equals(box.read(`data/${name}`)), name);
});
