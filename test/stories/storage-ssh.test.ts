// The append-only door, through a real sshd with a forced command, from the first backup to the restore.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite, test, before, after } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createSandbox, salvage, type RunResult, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';

interface Summary {
  readonly snapshot: string;
  readonly filesNew: number;
  readonly filesUnchanged: number;
  readonly bytesRead: number;
  readonly storedBytes: number;
}

const summaryOf = ({ stdout }: RunResult): Summary =>
  JSON.parse(stdout.toString().trim().split('\n').at(-1)!) as Summary;

/** Objects below a folder, with the time and size of each. */
function objects(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\/\.(?:serve|incoming)$/.test(entry.parentPath))
    .map((entry) => {
      const { mtimeMs, size } = statSync(join(entry.parentPath, entry.name));
      return `${entry.parentPath}/${entry.name}`.slice(root.length + 1) + ` ${size} ${mtimeMs}`;
    })
    .sort();
}

const packsOf = (root: string): string[] => objects(root).filter((name) => name.startsWith('packs/'));

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await setTimeout(5);
}

suite('storage over SSH', needsPeers, () => {
  let sshd: TestSshd;
  let close: (() => Promise<void>) | undefined;
  before(async () => {
    sshd = await startSshd({
      after: (callback) => {
        close = callback;
      },
    });
  });
  after(async () => await close?.());

  let doors = 0;
  /** A key that opens `box/store` in the given way: the arguments that make salvage use it. */
  function door(box: Sandbox, flags: string): string[] {
    const root = box.path('store');
    mkdirSync(root, { recursive: true });
    const command = `command="${salvage} serve --stdio --root ${root} ${flags}",restrict`;
    const { sshCommand } = sshd.addClient(`door-${++doors}`, command);
    return ['--repo', `ssh://${sshd.user}@${sshd.host}:${sshd.port}/`, '--ssh-command', sshCommand];
  }

  /** The files behind what `door` returns. */
  function clientOf(flags: readonly string[]): { readonly keyFile: string; readonly configFile: string } {
    const configFile = flags[3]!.replace(/^ssh -F /, '');
    const [, keyFile] = /^IdentityFile (.*)$/m.exec(readFileSync(configFile, 'utf8'))!;
    return { keyFile: keyFile!, configFile };
  }

  test('a host backs up through its door; the restorer reads through another; the host reads nothing back', async (t) => {
    const box = createSandbox(t);
    const host = door(box, '--append-only --quota 1G');
    const restorer = door(box, '--read-only');
    const keeper = door(box, '--allow-remove');
    await box.shell(`ssh-keygen -q -t ed25519 -N '' -f id`);
    for (let index = 0; index < 30; index++)
      box.write(`src/${index % 3}/f${index}`, randomBytes(index * 1000));
    const init = await box.salvage(['init', ...host, '-R', 'id.pub', '--name', 'web-1']);
    assert.equal(init.code, 0, init.stderr);
    box.write('allowed', init.stdout);
    const first = await box.salvage(['backup', ...host, '--json', 'src']);
    assert.equal(first.code, 0, first.stderr);
    assert.equal(summaryOf(first).filesNew, 30);
    await setTimeout(60);
    appendFileSync(box.path('src/1/f1'), 'more');
    const before = objects(box.path('store'));
    const second = await box.salvage(['backup', ...host, '--json', 'src']);
    assert.equal(second.code, 0, second.stderr);
    assert.equal(summaryOf(second).filesUnchanged, 29);
    const now = new Set(objects(box.path('store')));
    assert.ok(
      before.every((object) => now.has(object)),
      'nothing that was there has changed',
    );
    // All that a host without its cache needs comes through the door.
    rmSync(box.path('.home/.cache'), { recursive: true });
    const third = await box.salvage(['backup', ...host, '--json', 'src']);
    assert.equal(third.code, 0, third.stderr);
    assert.match(third.stderr, /made anew from the index/);
    assert.ok(summaryOf(third).storedBytes < 200_000, 'the content is not stored again');
    const list = await box.salvage(['snapshots', ...host, '--json']);
    assert.equal(list.code, 0, list.stderr);

    const trust = ['--allowed-signers', 'allowed', '--signer', 'web-1'];
    const verify = await box.salvage(['verify', ...restorer, ...trust, '--read-data']);
    assert.equal(verify.code, 0, verify.stderr);
    const restore = ['restore', '-i', 'id', ...trust, '--target', 'out', 'latest'];
    const restored = await box.salvage([...restore, ...restorer]);
    assert.equal(restored.code, 0, restored.stderr);
    const { code } = await box.shell(`diff -r src "$(find out -type d -name src)"`);
    assert.equal(code, 0);

    // Whoever takes the host, with its key and even with the identity, reads nothing.
    const stolen = await box.salvage([...restore, ...host]);
    assert.equal(stolen.code, 1);
    assert.match(stolen.stderr, /this key may not read it/);
    assert.match(stolen.stderr, /append-only/);
    const written = await box.salvage(['backup', ...restorer, 'src']);
    assert.equal(written.code, 1);
    assert.match(written.stderr, /this key may not create it/);
    const kept = await box.salvage(['verify', ...keeper, ...trust]);
    assert.equal(kept.code, 0, kept.stderr);
    const elsewhere = [host[0]!, `${host[1]}web-2`, ...host.slice(2)];
    const other = await box.salvage(['snapshots', ...elsewhere]);
    assert.equal(other.code, 1);
    assert.match(other.stderr, /this key opens one folder/);
  });

  test('the commands of docs/manual/storage-ssh.md work', async (t) => {
    const box = createSandbox(t);
    const text = readFileSync(
      join(import.meta.dirname, '..', '..', 'docs', 'manual', 'storage-ssh.md'),
      'utf8',
    );
    const blocks = [...text.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, block]) => block!);
    assert.equal(blocks.length, 2);
    const config = [
      ['backup', '--append-only --quota 200G'],
      ['backup-restore', '--read-only'],
    ].map(([alias, flags]) => {
      const { keyFile, configFile } = clientOf(door(box, flags!));
      return `Host ${alias}\n  HostName ${sshd.host}\n  Port ${sshd.port}\n  User ${sshd.user}\n  IdentityFile ${keyFile}\n${readFileSync(configFile, 'utf8').replace(/^IdentityFile.*$/m, '')}`;
    });
    box.write('ssh_config', config.join('\n'));
    const { code, stderr } = await box.shell(`set -x\n${blocks.join('\n')}`, {
      env: { SALVAGE_SSH: `ssh -F ${box.path('ssh_config')}` },
    });
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, /^(salvage|warning):/m);
    assert.equal((await box.shell('diff -r data "$(find restored -type d -name data)"')).code, 0);
  });

  test('a quota that is full is a clear error, and no snapshot', async (t) => {
    const box = createSandbox(t);
    const host = door(box, '--append-only --quota 200K');
    await box.shell(`ssh-keygen -q -t ed25519 -N '' -f id`);
    box.write('src/large', randomBytes(500_000));
    assert.equal((await box.salvage(['init', ...host, '-R', 'id.pub'])).code, 0);
    const { code, stderr } = await box.salvage(['backup', ...host, 'src']);
    assert.equal(code, 1);
    assert.match(stderr, /the quota of this place is used up/);
    assert.match(stderr, /hint: Ask whoever keeps the server/);
    assert.deepEqual(globSync('snapshots/*/SHA256SUMS*', { cwd: box.path('store') }), []);
    assert.deepEqual(readdirSync(box.path('store/.incoming')), []);
  });

  /** A host with 25 MB to back up, behind a door that is a script and can be shut. */
  async function prepareLarge(box: Sandbox): Promise<readonly string[]> {
    const root = box.path('store');
    mkdirSync(root, { recursive: true });
    openDoor(box);
    const { sshCommand } = sshd.addClient(`door-${++doors}`, `command="${box.path('door')}",restrict`);
    const host = ['--repo', `ssh://${sshd.user}@${sshd.host}:${sshd.port}/`, '--ssh-command', sshCommand];
    await box.shell(`ssh-keygen -q -t ed25519 -N '' -f id`);
    for (let index = 0; index < 5; index++) box.write(`src/f${index}`, randomBytes(5_000_000));
    const init = await box.salvage(['init', ...host, '-R', 'id.pub', '--name', 'web-1']);
    assert.equal(init.code, 0, init.stderr);
    box.write('allowed', init.stdout);
    return host;
  }

  function openDoor(box: Sandbox): void {
    box.write(
      'door',
      `#!/bin/sh\nexec ${salvage} serve --stdio --root ${box.path('store')} --append-only\n`,
      0o755,
    );
  }

  /** Starts a backup, and kills the server when the first pack is stored. */
  async function backupThatIsCut(
    box: Sandbox,
    host: readonly string[],
    atCut: () => void,
  ): Promise<{ code: number; stderr: string; packsBefore: string[] }> {
    const child = spawn(salvage, ['backup', ...host, '--limit-upload', '8M', 'src'], {
      cwd: box.folder,
      env: {
        ...process.env,
        HOME: box.path('.home'),
        XDG_CACHE_HOME: '',
        XDG_CONFIG_HOME: '',
        XDG_DATA_HOME: '',
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
    const exit = once(child, 'close');
    const hasPack = (): boolean =>
      existsSync(box.path('store/packs')) && packsOf(box.path('store')).length > 0;
    // The limit keeps the second pack waiting for two seconds.
    await until(() => child.exitCode !== null || hasPack());
    assert.equal(child.exitCode, null, stderr);
    atCut();
    sshd.cutConnections();
    const packsBefore = packsOf(box.path('store'));
    const [code] = (await exit) as [number];
    return { code, stderr, packsBefore };
  }

  test('the server is killed while a backup runs: the backup connects again and ends well', async (t) => {
    const box = createSandbox(t);
    const host = await prepareLarge(box);
    const { code, stderr, packsBefore } = await backupThatIsCut(box, host, () => {});
    assert.equal(code, 0, stderr);
    const packs = packsOf(box.path('store'));
    assert.ok(
      packsBefore.every((pack) => packs.includes(pack)),
      'what was stored is not stored again',
    );
    const sizes = packs.map((pack) => Number(pack.split(' ')[1]));
    assert.ok(sizes.reduce((sum, size) => sum + size) < 28_000_000, 'nothing is stored twice');
    const { code: verified, stderr: said } = await box.shell(
      `cd store && for s in snapshots/*/SHA256SUMS; do sha256sum --quiet -c $s; done`,
    );
    assert.equal(verified, 0, said);
  });

  test('the server is killed and does not come back: a clear error, and the next run uploads nothing again', async (t) => {
    const box = createSandbox(t);
    const host = await prepareLarge(box);
    const { code, stderr, packsBefore } = await backupThatIsCut(box, host, () => {
      box.write('door', '#!/bin/sh\necho "This account is closed." >&2\nexit 1\n', 0o755);
    });
    assert.equal(code, 1);
    assert.match(stderr, /Cannot (?:store|look at|list) "[^"]*" in "ssh:.*This account is closed/);
    assert.ok(!existsSync(box.path('store/snapshots')), 'there is no half snapshot');
    openDoor(box);
    const next = await box.salvage(['backup', ...host, '--json', 'src']);
    assert.equal(next.code, 0, next.stderr);
    const packs = packsOf(box.path('store'));
    assert.ok(packsBefore.length > 0 && packsBefore.every((pack) => packs.includes(pack)));
    const sizes = packs.map((pack) => Number(pack.split(' ')[1]));
    assert.ok(sizes.reduce((sum, size) => sum + size) < 28_000_000, 'nothing is stored twice');
    const before = packsBefore.reduce((sum, pack) => sum + Number(pack.split(' ')[1]), 0);
    assert.ok(summaryOf(next).storedBytes < 27_000_000 - before);
  });

  test('a keeper pulls: the host holds nothing but its own keys, and the keeper believes nothing that is not signed', async (t) => {
    const box = createSandbox(t);
    const hostHome = `env HOME=${box.path('web-1')} XDG_CACHE_HOME= XDG_CONFIG_HOME= XDG_DATA_HOME=`;
    mkdirSync(box.path('web-1'));
    box.write('src/etc/secret', 'of the host');
    box.write("src/it's odd", randomBytes(100_000));
    await box.shell(`ssh-keygen -q -t ed25519 -N '' -f id; ssh-keygen -q -t ed25519 -N '' -f other`);
    const target = `ssh://${sshd.user}@${sshd.host}:${sshd.port}`;
    // For setting up, a key that may run what it likes; from then on one that runs the backup and nothing else.
    const shell = sshd.addClient(
      'setup',
      `command="PATH=$(dirname ${salvage}):$PATH ${hostHome} sh -c \\"$SSH_ORIGINAL_COMMAND\\"",restrict`,
    );
    const tied = sshd.addClient(
      'pull',
      `command="${hostHome} ${salvage} backup --repo stdio: ${box.path('src')}",restrict`,
    );
    const init = await box.salvage([
      'pull',
      target,
      '--ssh-command',
      shell.sshCommand,
      '--repo',
      'repo',
      '--init',
      '--',
      '-R',
      box.path('id.pub'),
      '--name',
      'web-1',
    ]);
    assert.equal(init.code, 0, init.stderr);
    const [, line] = /^127\.0\.0\.1: (web-1 namespaces=.*)$/m.exec(init.stderr)!;
    box.write('allowed', `${line}\n`);
    const trust = ['--allowed-signers', 'allowed', '--signer', 'web-1'];
    const pull = ['pull', target, '--ssh-command', tied.sshCommand, '--repo', 'repo', '--json'];
    const first = await box.salvage([...pull, ...trust, '--', '/what/the/keeper/wants/does/not/count']);
    assert.equal(first.code, 0, first.stderr);
    const { snapshots, storedBytes } = JSON.parse(first.stdout.toString()) as {
      snapshots: { snapshot: string; signature: string }[];
      storedBytes: number;
    };
    assert.equal(snapshots[0]?.signature, 'trusted');
    assert.ok(storedBytes > 100_000);
    const verify = await box.salvage(['verify', '--repo', 'repo', ...trust, '--read-data']);
    assert.equal(verify.code, 0, verify.stderr);
    const restored = await box.salvage([
      'restore',
      '--repo',
      'repo',
      '-i',
      'id',
      ...trust,
      '--target',
      'out',
      'latest',
    ]);
    assert.equal(restored.code, 0, restored.stderr);
    assert.equal((await box.shell(`diff -r src "$(find out -type d -name src)"`)).code, 0);
    const { stdout } = await box.shell(
      `grep -rl 127.0.0.1 web-1 || true; cat web-1/.config/salvage/repositories/*.json`,
    );
    assert.match(stdout.toString(), /"repository": ?"stdio:"/);
    assert.doesNotMatch(stdout.toString(), /^web-1\//m);

    const again = await box.salvage([...pull, ...trust, '--']);
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stderr, /2 unchanged files/);

    box.write(
      'salvage.toml',
      `[repositories.web-1]
       url = "repo"
       allowed-signers = "allowed"
       signer = "web-1"
       [jobs.web-1]
       pull = "${target}"
       ssh-command = "${tied.sshCommand}"`,
    );
    const run = await box.salvage(['run', '--config', 'salvage.toml', '--json']);
    assert.equal(run.code, 0, run.stderr);
    assert.match(run.stdout.toString(), /"id":"pull:web-1",.*"snapshot":"00000003-/);

    // A host whose key is not the one that the keeper knows.
    box.write('wrong', `web-1 ${readFileSync(box.path('other.pub'), 'utf8')}`);
    const forged = await box.salvage([...pull, '--allowed-signers', 'wrong', '--signer', 'web-1']);
    assert.equal(forged.code, 13, forged.stderr);
    const { stdout: signed } = await box.shell('ls repo/snapshots/*/SHA256SUMS.sig | wc -l');
    assert.equal(signed.toString().trim(), '3');

    const absent = await box.salvage([
      'pull',
      target,
      '--repo',
      'repo',
      '--ssh-command',
      sshd.addClient('no-salvage', 'command="salvage-is-not-here",restrict').sshCommand,
    ]);
    assert.equal(absent.code, 1);
    assert.match(absent.stderr, /not found/);
  });
});
