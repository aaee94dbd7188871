// Faults that a kernel really gives: a full disk, a read-only mount, EIO and ENOSPC from chosen system calls, and a kill
// in the middle of one. After each the repository verifies clean, no snapshot is half there, and the next run finishes.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import { describe, test } from 'node:test';
import { createSandbox, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';

const isRoot = process.getuid?.() === 0;
const needsRoot = { skip: isRoot ? needsPeers.skip : 'mounting needs root' };

async function prepare(box: Sandbox): Promise<void> {
  await box.shell(`salvage keygen -o key.txt && salvage keygen -y key.txt > recipients.txt`);
  const { code, stderr } = await box.shell(
    `salvage init --repo repo -R recipients.txt --name host > allowed`,
  );
  assert.equal(code, 0, stderr);
  for (let n = 0; n < 8; n++) box.write(`tree/file-${n}`, randomBytes(1 << 20));
}

const backup = ['backup', '--repo', 'repo', 'tree'];

async function verifies(box: Sandbox, snapshots: number): Promise<void> {
  const { code, stdout, stderr } = await box.salvage([
    'snapshots',
    '--repo',
    'repo',
    '--allowed-signers',
    'allowed',
    '--json',
  ]);
  assert.equal(code, 0, stderr);
  const listed = stdout
    .toString()
    .trim()
    .split('\n')
    .filter((line) => line !== '');
  assert.equal(listed.length, snapshots, stdout.toString());
  const verify = await box.salvage([
    'verify',
    '--repo',
    'repo',
    '--allowed-signers',
    'allowed',
    '--signer',
    'host',
    '--read-data',
    '-i',
    'key.txt',
  ]);
  assert.equal(verify.code, 0, verify.stderr);
}

async function restores(box: Sandbox): Promise<void> {
  const { code, stderr } = await box.shell(
    `salvage restore latest -q --repo repo -i key.txt --allowed-signers allowed --target out && diff -r tree out/tree`,
  );
  assert.equal(code, 0, stderr);
}

async function mounted(t: { after(callback: () => void): void }, size: string): Promise<Sandbox> {
  const box = createSandbox(t);
  mkdirSync(box.path('repo'));
  const { code, stderr } = await box.shell(`mount -t tmpfs -o size=${size} salvage-test repo`);
  assert.equal(code, 0, stderr);
  await prepare(box);
  return box;
}

test(
  'a full disk ends the run with a clear word; with more room the next one finishes',
  needsRoot,
  async (t) => {
    const box = await mounted(t, '3m');
    try {
      const { code, stderr } = await box.salvage(backup);
      assert.equal(code, 1, stderr);
      assert.match(stderr, /no space left/i);
      assert.deepEqual(
        readdirSync(box.path('repo'))
          .filter((name) => name === 'snapshots')
          .flatMap((name) => readdirSync(box.path('repo', name))),
        [],
      );
      await box.shell('mount -o remount,size=64m repo');
      const again = await box.salvage(backup);
      assert.equal(again.code, 0, again.stderr);
      await verifies(box, 1);
      await restores(box);
    } finally {
      await box.shell('umount repo');
    }
  },
);

test('a read-only mount takes no backup and still gives one back', needsRoot, async (t) => {
  const box = await mounted(t, '64m');
  try {
    assert.equal((await box.salvage(backup)).code, 0);
    await box.shell('mount -o remount,ro repo; echo more > tree/more');
    const { code, stderr } = await box.salvage(backup);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /read-only file system/i);
    await verifies(box, 1);
    await box.shell('mount -o remount,rw repo');
    assert.equal((await box.salvage(backup)).code, 0);
    await verifies(box, 2);
    await restores(box);
  } finally {
    await box.shell('umount repo');
  }
});

describe('a system call that fails or is never finished', needsPeers, () => {
  const faults: [call: string, fault: string][] = [
    ['link,linkat', 'error=EIO:when=1'],
    ['link,linkat', 'error=ENOSPC:when=2'],
    ['link,linkat', 'signal=KILL:when=1'],
    ['fdatasync,fsync', 'error=EIO:when=1'],
    ['fdatasync,fsync', 'signal=KILL:when=1'],
  ];
  for (const [call, fault] of faults)
    test(`${call} with ${fault}`, async (t) => {
      const box = createSandbox(t);
      await prepare(box);
      const { code } = await box.shell(
        `UV_THREADPOOL_SIZE=1 strace -f --seccomp-bpf -o trace -e trace=${call} -e inject=${call}:${fault} salvage backup --repo repo tree`,
      );
      const { stdout } = await box.shell(`grep -c -e INJECTED -e 'killed by SIGKILL' trace || true`);
      assert.notEqual(stdout.toString().trim(), '0', 'the fault was never reached');
      const committed = code === 0 ? 1 : 0;
      await verifies(box, committed);
      const again = await box.salvage(backup);
      assert.equal(again.code, 0, again.stderr);
      await verifies(box, committed + 1);
      await restores(box);
    });
});
