// Files that other programs change, lengthen, shorten, replace and remove while a backup reads them. strace stops the run
// in its first read of the first file: that one is open, and everything else has been walked and not yet been read.
import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createSandbox, salvage } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';

/** With all else no more than one batch of a worker, which it gets when the walk is over. */
const largeBytes = 7_000_000;
/** More than is read at once. */
const largerBytes = 20_000_000;

interface Run {
  readonly code: number;
  readonly events: readonly Readonly<Record<string, string>>[];
}

describe('a backup of files that change', needsPeers, () => {
  const box = createSandbox({ after });
  const large = box.path('src', 'a-large');
  const env = { XDG_CACHE_HOME: '', XDG_CONFIG_HOME: '' };

  before(async () => {
    const { code, stderr } = await box.shell(
      `export XDG_CACHE_HOME= XDG_CONFIG_HOME=; mkdir src; head -c ${largeBytes} /dev/zero > src/a-large
       for name in shrinks grows vanishes replaced linked stays; do head -c 100000 /dev/urandom > src/$name; done
       salvage keygen -q -o key.txt; salvage keygen -y key.txt > recipients
       salvage init -q --repo repo -R recipients --name host > allowed`,
    );
    assert.equal(code, 0, stderr);
  });

  /** Runs a backup, and `change` while the large file is being read. */
  const backupWhile = async (change: () => void): Promise<Run> => {
    const trace = box.path('trace');
    rmSync(trace, { force: true });
    const stop = ['-P', large, '-e', 'trace=pread64', '-e', 'inject=pread64:signal=SIGSTOP:when=1'];
    const backup = [salvage, 'backup', '--repo', 'repo', '--threads', '1', '--force', '--json', 'src'];
    const args = ['-f', '-o', trace, ...stop, ...backup];
    const running = box.program('strace', args, { env });
    let isOver = false;
    const noteEnd = (): void => void (isOver = true);
    running.then(noteEnd, noteEnd);
    let stopped: RegExpExecArray | null = null;
    while (!stopped) {
      assert.ok(!isOver, 'the backup was over before it was stopped');
      stopped = /^(\d+) +--- stopped by SIGSTOP/m.exec(
        existsSync(trace) ? readFileSync(trace, 'latin1') : '',
      );
      await setTimeout(5);
    }
    try {
      change();
    } finally {
      process.kill(Number(stopped[1]), 'SIGCONT');
    }
    const { code, stdout } = await running;
    const lines = stdout.toString().trim().split('\n');
    const events = lines.map((line) => JSON.parse(line) as Record<string, string>);
    return { code, events: events.filter(({ event }) => event === 'problem') };
  };

  const verifies = async (): Promise<void> => {
    const { code, stderr } = await box.salvage(
      ['verify', '--repo', 'repo', '--allowed-signers', 'allowed', '-i', 'key.txt'],
      { env },
    );
    assert.equal(code, 0, stderr);
  };

  const restored = async (): Promise<string> => {
    rmSync(box.path('out'), { recursive: true, force: true });
    const { code, stderr } = await box.shell(
      'salvage restore latest -q --repo repo -i key.txt --allowed-signers allowed --target out --verify',
    );
    assert.equal(code, 0, stderr);
    return box.path('out', 'src');
  };

  test('names what grew, vanished or was replaced, and keeps what it read', async () => {
    const { code, events } = await backupWhile(() => {
      appendFileSync(large, 'more');
      truncateSync(box.path('src', 'shrinks'), 40_000);
      appendFileSync(box.path('src', 'grows'), 'grown');
      rmSync(box.path('src', 'vanishes'));
      renameSync(box.path('src', 'stays'), box.path('src', 'stays-else'));
      renameSync(box.path('src', 'replaced'), box.path('src', 'stays'));
      rmSync(box.path('src', 'linked'));
      symlinkSync('/etc/passwd', box.path('src', 'linked'));
    });
    assert.equal(code, 3);
    const problems = new Map(events.map(({ path, what, message }) => [path!, `${what}: ${message}`]));
    assert.deepEqual(
      [...problems.keys()].toSorted((a, b) => (a < b ? -1 : 1)),
      ['src/a-large', 'src/linked', 'src/replaced', 'src/stays', 'src/vanishes'],
    );
    assert.match(problems.get('src/a-large')!, /^changed: it grew from 7000000 to 7000004 bytes/);
    assert.match(problems.get('src/vanishes')!, /^vanished/);
    await verifies();
    const [snapshot] = readdirSync(box.path('repo', 'snapshots'));
    const { entries } = JSON.parse(box.read(`repo/snapshots/${snapshot}/snapshot.json`).toString()) as {
      entries: number;
    };
    const listed = await box.shell(
      'salvage ls --recursive latest --repo repo -i key.txt --allowed-signers allowed',
    );
    assert.equal(entries, listed.stdout.toString().trim().split('\n').length);
    const out = await restored();
    // Those that were read before they were opened are as they were then.
    assert.equal(statSync(`${out}/a-large`).size, largeBytes);
    for (const name of ['shrinks', 'grows'])
      assert.ok(readFileSync(`${out}/${name}`).equals(box.read(`src/${name}`)), name);
    for (const name of ['vanishes', 'replaced', 'linked', 'stays'])
      assert.ok(!existsSync(`${out}/${name}`), name);
  });

  test('names what shrank and what was written over', async () => {
    await box.shell(`head -c ${largerBytes} /dev/zero > src/a-large`);
    const shrunk = await backupWhile(() => truncateSync(large, 1000));
    assert.equal(shrunk.code, 3);
    assert.match(shrunk.events[0]!['message']!, /^it shrank from 20000000 to 1000 bytes/);
    const out = await restored();
    const { size } = statSync(`${out}/a-large`);
    assert.ok(size >= 1000 && size < largerBytes, `${size} bytes`);
    assert.ok(readFileSync(`${out}/a-large`).every((byte) => byte === 0));
    await box.shell(`head -c ${largeBytes} /dev/zero > src/a-large`);
    const overwritten = await backupWhile(() => {
      const fd = openSync(large, 'r+');
      writeSync(fd, 'x', largeBytes - 1);
      closeSync(fd);
    });
    assert.equal(overwritten.code, 3);
    assert.equal(overwritten.events[0]!['message'], 'it was changed while it was read');
    await verifies();
  });

  test('and the next one, when all is quiet, has everything as it is', async () => {
    const { code, stderr } = await box.salvage(['backup', '--repo', 'repo', 'src'], { env });
    assert.equal(code, 0, stderr);
    assert.equal((await box.shell(`diff -r --no-dereference src ${await restored()}`)).code, 0);
    await verifies();
  });
});

test('a file with a bad block is named and left out, and everything else is there', needsPeers, async (t) => {
  const box = createSandbox(t);
  const { code, stderr } = await box.shell(
    `mkdir src; for name in a bad z; do head -c 100000 /dev/urandom > src/$name; done; ln src/bad src/other-name
     salvage keygen -q -o key.txt; salvage keygen -y key.txt > recipients
     salvage init -q --repo repo -R recipients --name host > allowed
     strace -f -o trace -P $PWD/src/bad -e trace=pread64 -e inject=pread64:error=EIO salvage backup --repo repo src || test $? = 3
     salvage restore latest -q --repo repo -i key.txt --allowed-signers allowed --target out; ls out/src`,
  );
  assert.equal(code, 0, stderr);
  assert.match(stderr, /Cannot read "src\/bad": /);
  assert.match(stderr, /Cannot read "src\/other-name": its first name could not be read/);
  assert.deepEqual(readdirSync(box.path('out', 'src')), ['a', 'z']);
  const again = await box.shell('salvage backup -q --repo repo src');
  assert.equal(again.code, 0, again.stderr);
});
