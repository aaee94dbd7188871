// Faults that a kernel really gives, while a repository is read and while files are written: EIO and ENOSPC from chosen
// system calls, kills in the middle of one and at any moment, a full disk, a read-only mount. After each, what is there is
// right or known to be unfinished, and the same command completes it without fetching again what is right.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createSandbox, salvage, type RunResult, type Sandbox } from '../support/cli.ts';
import { havePeers, needsPeers } from '../support/peers.ts';

const isRoot = process.getuid?.() === 0;
const needsRoot = { skip: isRoot ? needsPeers.skip : 'mounting needs root' };
const isSlow = process.env['SLOW'] === '1';
const unfinishedMode = 0o1600;

/**
 * `one` and `two` are backed up, each as it was for snapshot 1 and 2: `two` has other content in most files. Packs are of
 * 16 MiB; the second half of `one` is in a pack of its own.
 */
async function prepare(box: Sandbox): Promise<void> {
  for (let n = 0; n < 300; n++) box.write(`one/d${n % 7}/file-${n}`, `one ${n} `.repeat(n * 20));
  for (let n = 0; n < 8; n++) box.write(`one/large-${n}`, randomBytes(1_500_000 + n));
  box.write('one/huge', randomBytes(20_000_000));
  const script = `
    salvage keygen -q -o key.txt; salvage keygen -y key.txt > recipients.txt
    salvage init -q --repo repo -R recipients.txt --name host > allowed
    mkdir tree; cp -a one/. tree; ln tree/large-1 tree/linked; ln -s large-1 tree/symlink; mkfifo tree/fifo
    sleep 0.05; salvage backup -q --repo repo tree; cp -a tree one-whole
    for n in 0 2 4 6; do head -c 1600000 /dev/urandom > tree/large-$n; done
    for f in tree/d[0-3]/*; do echo more >> $f; done; rm tree/d6/*; echo new > tree/new
    head -c 100000 /dev/urandom | dd of=tree/huge conv=notrunc bs=1000 seek=7000 status=none
    salvage backup -q --repo repo tree; mv tree two-whole`;
  const { code, stderr } = await box.shell(script);
  assert.equal(code, 0, stderr);
}

const restoreArgs = (snapshot: string, target: string, ...more: string[]): string[] => [
  'restore',
  snapshot,
  '--repo',
  'repo',
  '-i',
  'key.txt',
  '--allowed-signers',
  'allowed',
  '--target',
  target,
  '--json',
  ...more,
];

interface Summary {
  readonly event: string;
  readonly files: number;
  readonly kept: number;
  readonly lost: number;
}

const summaryOf = ({ stdout }: RunResult): Summary =>
  JSON.parse(stdout.toString().trim().split('\n').at(-1)!) as Summary;

/** Every file is as it was in one of the trees, or marked as unfinished by its mode or its name. Returns how many are as in the first. */
function checkFiles(box: Sandbox, target: string, ...trees: readonly string[]): number {
  let right = 0;
  const root = box.path(target, 'tree');
  if (!existsSync(root)) return 0;
  for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    if (name.includes('.salvage-partial-')) continue;
    const status = lstatSync(join(root, name));
    if (!status.isFile() || (status.mode & 0o7777) === unfinishedMode) continue;
    const found = readFileSync(join(root, name));
    const which = trees.findIndex((tree) => {
      const path = box.path(tree, name);
      return existsSync(path) && statSync(path).size === found.length && readFileSync(path).equals(found);
    });
    assert.notEqual(which, -1, `${name} is as it never was`);
    if (which === 0) right++;
  }
  return right;
}

async function completes(box: Sandbox, target: string, ...more: string[]): Promise<void> {
  const right = checkFiles(box, target, 'two-whole', 'one-whole');
  const result = await box.salvage(restoreArgs('latest', target, ...more));
  assert.equal(result.code, 0, result.stderr);
  const { kept } = summaryOf(result);
  assert.ok(kept >= right, `${right} files were right, and ${kept} were kept`);
  await isWhole(box, target);
}

async function isWhole(box: Sandbox, target: string): Promise<void> {
  const same = await box.shell(
    `rsync -aHAXn --checksum --itemize-changes --delete two-whole/ ${target}/tree/; diff -r --no-dereference -x fifo two-whole ${target}/tree`,
  );
  assert.deepEqual([same.code, same.stdout.toString()], [0, ''], same.stderr);
}

const box = createSandbox({ after });
before(async () => {
  if (havePeers) await prepare(box);
});

describe('a restore from a local repository', needsPeers, () => {
  let packs: string[];
  before(() => {
    packs = readdirSync(box.path('repo', 'packs'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.age'))
      .map((name) => join('repo', 'packs', name))
      .sort((a, b) => statSync(box.path(b)).size - statSync(box.path(a)).size);
  });

  const underStrace = async (
    inject: string,
    path: string | undefined,
    args: string[],
  ): Promise<RunResult> => {
    const call = inject.slice(0, inject.indexOf(':'));
    // Its faster way knows no paths, and sends no signals.
    const how =
      path !== undefined ? ['-P', box.path(path)] : inject.includes('signal=') ? [] : ['--seccomp-bpf'];
    const flags = ['-f', ...how, '-o', 'trace', '-e', `trace=${call}`, '-e', `inject=${inject}`];
    const result = await box.program('strace', [...flags, salvage, ...args]);
    const trace = box.read('trace').toString();
    assert.match(trace, /INJECTED|killed by SIGKILL/, `${inject} was never reached`);
    return result;
  };

  test('goes on with everything else when a pack cannot be read, and says which files it lacks', async () => {
    const { code, stdout, stderr } = await underStrace(
      'pread64:error=EIO',
      packs[0]!,
      restoreArgs('latest', 'eio'),
    );
    assert.equal(code, 1, stderr);
    assert.match(stderr, /Cannot restore "[^"]+": cannot read "packs\/.*(?:EIO|i\/o error)/i);
    const { lost, files } = summaryOf({ code, stdout, stderr });
    assert.ok(lost > 0 && files > 100, `${lost} lost, ${files} restored`);
    await completes(box, 'eio');
  });

  test('verify and cat do not take a bad block for a good one', async () => {
    const checking = ['verify', '--repo', 'repo', '--allowed-signers', 'allowed', '--signer', 'host'];
    for (const more of [['--read-data'], ['-i', 'key.txt']]) {
      const { code, stderr } = await underStrace('pread64:error=EIO', packs[0]!, [...checking, ...more]);
      assert.equal(code, 1, stderr);
      assert.match(stderr, /Cannot read "packs\//);
    }
    const { code, stdout } = await underStrace('pread64:error=EIO:when=3+', packs[0]!, [
      'cat',
      'latest',
      'tree/huge',
      '--repo',
      'repo',
      '-i',
      'key.txt',
    ]);
    assert.equal(code, 1);
    const huge = box.read('two-whole/huge');
    assert.ok(stdout.equals(huge.subarray(0, stdout.length)) && stdout.length < huge.length);
  });

  const faults: [inject: string, code: number][] = [
    ['pwrite64:error=EIO:when=20', 1],
    ['pwrite64:error=ENOSPC:when=20', 1],
    ['pwrite64:signal=KILL:when=30', 137],
    ['fchmod:error=EIO:when=9', 1],
    ['fchmod:signal=KILL:when=50', 137],
    ['utimensat:signal=KILL:when=50', 137],
    ['mkdirat:error=ENOSPC:when=3', 1],
    ['linkat:signal=KILL:when=1', 137],
  ];
  for (const [inject, expected] of faults)
    test(`${inject} while it writes`, async () => {
      const target = `new-${inject.replaceAll(/\W/g, '-')}`;
      const { code, stderr } = await underStrace(inject, undefined, restoreArgs('latest', target));
      assert.equal(code, expected, stderr);
      await completes(box, target);
    });

  for (const inject of [
    'renameat:signal=KILL:when=5',
    'renameat:error=EIO:when=5',
    'pwrite64:signal=KILL:when=60',
  ])
    test(`${inject} while it replaces`, async () => {
      const target = `old-${inject.replaceAll(/\W/g, '-')}`;
      const old = await box.salvage(restoreArgs('1', target));
      assert.equal(old.code, 0, old.stderr);
      await underStrace(inject, undefined, restoreArgs('latest', target));
      await completes(box, target, '--delete');
    });

  test('killed at any moment, and begun again, is right', async () => {
    const rounds = isSlow ? 200 : 8;
    const env = { ...process.env, HOME: box.path('.home'), XDG_STATE_HOME: box.path('.home', 'state') };
    for (let round = 0, targets = 0; round < rounds; round++) {
      // Now into an empty folder, now over the other snapshot, now on where the last one was killed.
      if (round % 4 === 0) targets++;
      const target = `killed-${targets}`;
      const snapshot = round % 4 === 2 ? '1' : 'latest';
      const child = spawn(salvage, restoreArgs(snapshot, target), { cwd: box.folder, env, stdio: 'ignore' });
      const exited = once(child, 'exit');
      const hasBegun = (): boolean => child.exitCode !== null || existsSync(box.path(target, 'tree', 'd0'));
      while (!hasBegun()) await setTimeout(5);
      await setTimeout((round * 137) % 400);
      child.kill('SIGKILL');
      await exited;
      checkFiles(box, target, 'two-whole', 'one-whole');
      if (round % 4 === 3) {
        await completes(box, target, '--delete');
        await box.shell(`rm -r ${target}`);
      }
    }
  });
});

async function onMount(
  box: Sandbox,
  size: string,
  work: (remount: (options: string) => Promise<void>) => Promise<void>,
): Promise<void> {
  mkdirSync(box.path('mount'), { recursive: true });
  const mount = async (command: string): Promise<void> => {
    const { code, stderr } = await box.shell(command);
    assert.equal(code, 0, stderr);
  };
  await mount(`mount -t tmpfs -o size=${size} salvage-test mount`);
  try {
    await work((options) => mount(`mount -o remount,${options} mount`));
  } finally {
    await mount('umount mount');
  }
}

describe('a restore onto a mount', needsRoot, () => {
  test('that is full ends with a clear word, and goes on when there is room', async () => {
    await onMount(box, '12m', async (remount) => {
      const { code, stderr } = await box.salvage(restoreArgs('latest', 'mount/out'));
      assert.equal(code, 1, stderr);
      assert.match(stderr, /no space is left/);
      assert.ok(stderr.split('\n').length < 20, stderr);
      const right = checkFiles(box, 'mount/out', 'two-whole');
      assert.ok(right > 10, `${right} files`);
      await remount('size=80m');
      await completes(box, 'mount/out');
    });
  });

  test('that is read-only writes nothing and says so', async () => {
    await onMount(box, '80m', async (remount) => {
      mkdirSync(box.path('mount/out'));
      await remount('ro');
      const { code, stderr } = await box.salvage(restoreArgs('latest', 'mount/out'));
      assert.equal(code, 1, stderr);
      assert.match(stderr, /the file system is read-only/);
      assert.deepEqual(readdirSync(box.path('mount/out')), []);
      await remount('rw');
      await completes(box, 'mount/out');
    });
  });
});
