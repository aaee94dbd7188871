// A systemd that is process 1, in namespaces of its own: it loads the units that `schedule install` writes, notices that a
// run was missed, and starts it in its cage.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSandbox, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';

/** Units of a real system that ours refer to, with nothing in them: no service of this machine is started. */
const targets = ['sysinit', 'basic', 'shutdown', 'network-online', 'local-fs', 'timers'];

/** Nothing of the machine's own /run, units, timers or control groups is seen, or touched. */
const start = `
mount --make-rprivate /
mount --make-rshared /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
umount -R -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind "$1/console" /dev/console
mount --bind "$1/units" /etc/systemd/system
mkdir -p /var/lib/systemd/timers
mount --bind "$1/timers" /var/lib/systemd/timers
export container=test SYSTEMD_UNIT_PATH=/etc/systemd/system SYSTEMD_GENERATOR_PATH=/nonexistent SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/nonexistent
exec /lib/systemd/systemd --system --unit=timers.target --log-target=console --show-status=0
`;

/** Starts it. Returns how commands are run where it is process 1. */
async function startSystemd(
  box: Sandbox,
  lifetime: { after(end: () => Promise<void>): void },
): Promise<string> {
  const [mount] = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/self/mounts', 'utf8'))?.slice(1) ?? [];
  assert.ok(mount, 'this machine has control groups of version 2');
  const group = join(mount, box.folder.split('/').at(-1)!);
  mkdirSync(group);
  for (const folder of ['units', 'timers']) mkdirSync(box.path(folder));
  box.write('console', '');
  for (const name of targets) box.write(`units/${name}.target`, `[Unit]\nDescription=${name}\n`);
  const child = spawn(
    'sh',
    [
      '-ec',
      `echo $$ > "$2/cgroup.procs"; exec unshare --pid --mount --uts --ipc --cgroup --fork --kill-child sh -ec '${start}' sh "$1"`,
      'sh',
      box.folder,
      group,
    ],
    { stdio: 'ignore' },
  );
  const ended = once(child, 'exit');
  lifetime.after(async () => {
    child.kill('SIGKILL');
    await ended;
    while (existsSync(group)) {
      try {
        for (const below of readdirSync(group, { recursive: true, withFileTypes: true }).toReversed())
          if (below.isDirectory()) rmdirSync(join(below.parentPath, below.name));
        rmdirSync(group);
      } catch (error) {
        // The kernel takes a moment to let its processes go.
        assert.ok(['EBUSY', 'ENOENT', 'ENOTEMPTY'].includes((error as NodeJS.ErrnoException).code!));
        await sleep(20);
      }
    }
  });
  const children = `/proc/${child.pid}/task/${child.pid}/children`;
  for (;;) {
    assert.equal(child.exitCode, null, `systemd ended: ${box.read('console').toString()}`);
    const [pid] = readFileSync(children, 'latin1').split(' ');
    if (pid) {
      const enter = `nsenter -t ${pid} -m -p --`;
      const { stdout } = await box.shell(`${enter} systemctl is-system-running || true`);
      if (/^(?:running|degraded)$/.test(stdout.toString().trim())) return enter;
    }
    await sleep(50);
  }
}

test('systemd catches a missed run up, and the run works in its cage', needsPeers, async (t) => {
  const box = createSandbox(t);
  const enter = await startSystemd(box, t);
  // The repository may be written, /tmp too; nothing else.
  const outside = `/usr/local/${box.folder.split('/').at(-1)!}`;
  t.after(() => rmSync(outside, { force: true }));
  box.write(
    'salvage.toml',
    `[service]
randomized-delay = "0s"
nice = 0
[credentials]
word = "word"
[repositories.main]
url = "repo"
passphrase = { credential = "word" }
[jobs.cage]
command = "touch '${outside}' 2> /dev/null || echo kept in"
as = "cage"
schedule = "02:30"
`,
  );
  box.write('word', 'a secret\n');
  // So long ago the timer was last due: the machine was off since.
  const stamp = box.write('timers/stamp-salvage.timer', '');
  utimesSync(stamp, 0, Date.now() / 1000 - 3 * 86_400);
  const { code, stderr } = await box.shell(`salvage keygen -q -o key && salvage keygen -y key > key.pub
    ssh-keygen -q -t ed25519 -a 1 -N 'a secret' -f signing-key
    salvage init -q --repo repo -R key.pub --name host --signing-key signing-key --passphrase-file word > allowed
    ${enter} env HOME="$HOME" "$(command -v salvage)" schedule install --kind systemd --system --config "$PWD/salvage.toml"`);
  assert.equal(code, 0, stderr);
  const show = async (): Promise<string> =>
    (
      await box.shell(
        `${enter} systemctl show salvage.service -p Result -p ExecMainStatus -p ActiveState -p ExecMainExitTimestampMonotonic`,
      )
    ).stdout.toString();
  let state = await show();
  for (; !/Monotonic=[1-9]/.test(state); state = await show()) await sleep(100);
  const told = (
    await box.shell('cat .home/.local/state/salvage/runs/*.json console || true')
  ).stdout.toString();
  assert.match(state, /^Result=success$/m, told);
  assert.match(state, /^ExecMainStatus=0$/m, told);
  const found =
    await box.shell(`salvage cat -q --repo repo -i key --allowed-signers allowed --signer host latest cage
    ${enter} systemctl list-timers --no-pager
    ${enter} "$(command -v salvage)" schedule remove --kind systemd --system
    ${enter} systemctl list-timers --no-pager --all`);
  assert.equal(found.code, 0, found.stderr);
  const text = found.stdout.toString();
  assert.match(text, /^kept in$/m);
  // It stands in the list of timers, with a next time, until it is removed.
  assert.equal(text.match(/^\w{3} \d.* left .* salvage\.timer +salvage\.service$/gm)?.length, 1, text);
  assert.deepEqual(existsSync(outside), false);
  assert.deepEqual(
    readdirSync(box.path('units')).filter((name) => name.startsWith('salvage')),
    [],
  );
});
