import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { test, type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createSandbox, salvage, type RunResult, type Sandbox } from '../support/cli.ts';

interface Summary {
  readonly snapshot: string;
  readonly filesNew: number;
  readonly filesChanged: number;
  readonly filesUnchanged: number;
  readonly bytesRead: number;
  readonly bytesNew: number;
  readonly storedBytes: number;
  readonly problems: number;
}

/** A repository at `repo`, its key `id`, `allowed` for the signer `host`, and some files in `src`. */
async function prepare(t: TestContext): Promise<Sandbox> {
  const box = createSandbox(t);
  await box.shell(`ssh-keygen -q -t ed25519 -N '' -f id
    salvage init --repo repo -R id.pub --name host | grep ssh- > allowed`);
  for (let index = 0; index < 40; index++)
    box.write(`src/d${index % 4}/f${index}`, `content of ${index}\n`.repeat(index * 40));
  box.write('src/big', pseudoRandom(3_000_000, 1));
  await settle();
  return box;
}

/** Files younger than a tick of the kernel's clock are read again by the next run, as they should be. */
const settle = (): Promise<void> => setTimeout(60);

function pseudoRandom(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0, state = seed; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

async function run(box: Sandbox, ...args: string[]): Promise<{ result: RunResult; summary: Summary }> {
  const result = await box.salvage(['backup', '--repo', 'repo', '--json', ...args]);
  const last = result.stdout.toString().trim().split('\n').at(-1)!;
  return { result, summary: (last === '' ? {} : JSON.parse(last)) as Summary };
}

const listFiles = (box: Sandbox, folder: string): string[] =>
  readdirSync(box.path(folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(box.folder.length + 1))
    .sort();

/** With stock programs alone: every list fits, every signature is the host's. Returns the number of snapshots. */
async function verify(box: Sandbox): Promise<number> {
  const { code, stdout, stderr } = await box.shell(`cd repo; n=0
    # Each object once, however many snapshots list it.
    cat snapshots/*/SHA256SUMS | sort -u | sha256sum --quiet -c
    for s in snapshots/*/SHA256SUMS.sig; do s=\${s%.sig}
      ssh-keygen -Y verify -f ../allowed -I host -n salvage-snapshot -s "$s.sig" < "$s" > /dev/null
      n=$((n+1))
    done; echo $n`);
  assert.equal(code, 0, stderr);
  return Number(stdout);
}

async function restore(box: Sandbox, target: string): Promise<void> {
  mkdirSync(box.path(target));
  const { code, stderr } = await box.program('python3', [
    'repo/recover.py',
    '--repo',
    'repo',
    '-i',
    'id',
    '--target',
    target,
    'latest',
  ]);
  assert.equal(code, 0, stderr);
}

test('init prints the signer alone, refuses a repository that is there and recipients of two kinds', async (t) => {
  const box = await prepare(t);
  assert.match(
    box.read('allowed').toString(),
    /^host namespaces="salvage-snapshot" ssh-ed25519 [A-Za-z0-9+/]+=*\n$/,
  );
  const again = await box.salvage(['init', '--repo', 'repo', '-R', 'id.pub']);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /there is one already/);
  const { stdout: classic } = await box.shell('salvage keygen -o classic.txt 2>&1 | grep -o age1.*');
  const { stdout: hybrid } = await box.shell('salvage keygen -pq -o pq.txt 2>&1 | grep -o age1pq.*');
  const mixed = await box.salvage([
    'init',
    '--repo',
    'other',
    '-r',
    classic.toString().trim(),
    '-r',
    hybrid.toString().trim(),
  ]);
  assert.equal(mixed.code, 1);
  assert.match(mixed.stderr, /a post-quantum repository cannot also list a classic key/);
  assert.throws(() => box.read('other/repository.json'));
  const none = await box.salvage(['backup', '--repo', 'nowhere', 'src']);
  assert.equal(none.code, 10);
});

test('the first run stores everything, the second four small objects, the third what has changed', async (t) => {
  const box = await prepare(t);
  const first = await run(box, 'src');
  assert.equal(first.result.code, 0, first.result.stderr);
  assert.deepEqual([first.summary.filesNew, first.summary.filesUnchanged], [41, 0]);
  const before = listFiles(box, 'repo');

  const second = await run(box, 'src');
  const { filesNew, filesChanged, filesUnchanged, bytesRead, storedBytes } = second.summary;
  assert.deepEqual([filesNew, filesChanged, filesUnchanged, bytesRead, storedBytes], [0, 0, 41, 0, 0]);
  const added = listFiles(box, 'repo').filter((name) => !before.includes(name));
  assert.deepEqual(
    added.map((name) => name.split('/').at(-1)),
    ['SHA256SUMS', 'SHA256SUMS.sig', 'root.age', 'snapshot.json'],
  );

  appendFileSync(box.path('src/d1/f5'), 'more');
  box.write('src/d2/new', 'new');
  box.write('src/d2/moved', box.read('src/big'));
  rmSync(box.path('src/big'));
  await settle();
  const third = await run(box, 'src');
  assert.deepEqual(
    [third.summary.filesNew, third.summary.filesChanged, third.summary.filesUnchanged],
    [2, 1, 39],
  );
  assert.ok(third.summary.bytesNew < 100_000, 'what was moved is not stored again');
  const sums = readFileSync(box.path(`repo/snapshots/${second.summary.snapshot}/SHA256SUMS`));
  const json = JSON.parse(box.read(`repo/snapshots/${third.summary.snapshot}/snapshot.json`).toString());
  assert.equal(json.previous, createHash('sha256').update(sums).digest('hex'));
  assert.equal(json.sequence, 3);
  assert.equal(await verify(box), 3);
  await restore(box, 'out');
  const same = await box.shell('rsync -aHAXn --checksum --itemize-changes --delete src/ out/src/');
  assert.equal(same.stdout.toString(), '');
});

test('--force reads everything and stores nothing twice; --dry-run stores nothing', async (t) => {
  const box = await prepare(t);
  const dry = await run(box, '-n', 'src');
  assert.equal(dry.summary.filesNew, 41);
  assert.deepEqual(
    listFiles(box, 'repo').filter((name) => name.includes('/packs/')),
    [],
  );
  await run(box, 'src');
  const forced = await run(box, '--force', '--paranoid', 'src');
  assert.ok(forced.summary.bytesRead > 3_000_000);
  assert.equal(forced.summary.bytesNew, 0);
});

test('hard links, holes, attributes, fifos and names of any bytes come back', async (t) => {
  const box = await prepare(t);
  await box.shell(`cd src; ln d1/f1 d3/link; ln -s ../nowhere sym; mkfifo fifo; truncate -s 5M sparse
    printf data | dd of=sparse bs=1 seek=2M conv=notrunc status=none
    printf x > "$(printf 'odd\\377name')"; setfattr -n user.note -v hello d1/f5; setfacl -m u:7:r d2/f2; chmod 4711 d0/f4`);
  await settle();
  const { result } = await run(box, 'src');
  assert.equal(result.code, 0, result.stderr);
  await restore(box, 'out');
  const same = await box.shell('rsync -aHAXn --checksum --itemize-changes --delete src/ out/src/');
  assert.equal(same.stdout.toString(), '');
});

test('standard input and commands become files; a failing command leaves no snapshot', async (t) => {
  const box = await prepare(t);
  const bytes = pseudoRandom(2_500_000, 7);
  const piped = await box.salvage(['backup', '--repo', 'repo', '--stdin', 'dump.sql'], { stdin: bytes });
  assert.equal(piped.code, 0, piped.stderr);
  await restore(box, 'out');
  assert.ok(box.read('out/dump.sql').equals(bytes));
  const command = await run(box, '--command', 'printf "a b"; printf c', '--as', 'x.txt');
  assert.equal(command.result.code, 0, command.result.stderr);
  await restore(box, 'out2');
  assert.equal(box.read('out2/x.txt').toString(), 'a bc');
  const failing = await run(box, '--command', 'echo half; exit 4', '--as', 'x.txt');
  assert.equal(failing.result.code, 1);
  assert.match(failing.result.stderr, /exit code 4/);
  assert.equal(await verify(box), 2);
});

test('a second run at the same time is told that another one is at it', async (t) => {
  const box = await prepare(t);
  const first = box.salvage([
    'backup',
    '--repo',
    'repo',
    '--command',
    'touch started; while [ ! -e enough ]; do sleep 0.05; done',
    '--as',
    'x',
  ]);
  while (!existsSync(box.path('started'))) await setTimeout(20);
  const { result } = await run(box, 'src');
  box.write('enough', '');
  assert.equal(result.code, 11);
  assert.equal((await first).code, 0);
});

test('--json tells what happens while it happens', async (t) => {
  const box = await prepare(t);
  await run(box, 'src');
  rmSync(box.path('.home/.cache'), { recursive: true });
  const command = 'while [ ! -e enough ]; do head -c 100000 /dev/zero; sleep 0.1; done';
  const running = box.shell(`salvage backup --repo repo --json --command '${command}' --as x > events`);
  const events = (): { event: string }[] =>
    box
      .read('events')
      .toString()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { event: string });
  while (!existsSync(box.path('events')) || !events().some(({ event }) => event === 'progress'))
    await setTimeout(20);
  assert.equal(events()[0]!.event, 'notice');
  box.write('enough', '');
  const { code, stderr } = await running;
  assert.equal(code, 0, stderr);
  assert.equal(events().at(-1)!.event, 'summary');
});

test('Ctrl-C ends the run and leaves nothing half done', async (t) => {
  const box = await prepare(t);
  const result = await box.shell(
    `salvage backup --repo repo --command "touch started; sleep 30" --as x & p=$!
    while [ ! -e started ]; do sleep 0.05; done; kill -INT $p; wait $p || echo $?`,
  );
  assert.match(result.stdout.toString(), /130/);
  assert.equal(await verifyNone(box), true);
  assert.equal((await run(box, 'src')).result.code, 0);
});

async function verifyNone(box: Sandbox): Promise<boolean> {
  return !listFiles(box, 'repo').some((name) => name.endsWith('SHA256SUMS.sig'));
}

test('killed at any moment: the next run finishes and stores nothing twice', async (t) => {
  const box = await prepare(t);
  for (let index = 0; index < 12; index++)
    box.write(`src/random${index}`, pseudoRandom(4_000_000, 100 + index));
  await settle();
  const env = (await box.shell('env -0')).stdout
    .toString()
    .split('\0')
    .filter((line) => line.includes('='));
  const rounds = process.env['SLOW'] === '1' ? 200 : 8;
  for (let round = 0; round < rounds; round++) {
    const child = spawn(salvage, ['backup', '--repo', 'repo', '--threads', '2', 'src'], {
      cwd: box.folder,
      env: Object.fromEntries(
        env.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
      ),
      stdio: 'ignore',
    });
    await setTimeout(250 + ((round * 137) % 900));
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
  const { result } = await run(box, 'src');
  assert.equal(result.code, 0, result.stderr);
  await verify(box);
  await restore(box, 'out');
  assert.equal((await box.shell('diff -r src out/src')).code, 0);
  // What compresses not at all is stored once: 51 MB, and less than two packs that were under way when killed each time.
  const packs = await box.shell('du -sb repo/packs | cut -f1');
  assert.ok(Number(packs.stdout) < 51_000_000 * 1.2, packs.stdout.toString());
});

test('a lost cache costs reading, a lost configuration is adopted', async (t) => {
  const box = await prepare(t);
  await run(box, 'src');
  const packsBefore = listFiles(box, 'repo/packs');
  rmSync(box.path('.home/.cache'), { recursive: true });
  const again = await run(box, 'src');
  assert.equal(again.result.code, 0, again.result.stderr);
  assert.equal(again.summary.bytesNew, 0);
  assert.ok(again.summary.bytesRead > 3_000_000);
  assert.deepEqual(listFiles(box, 'repo/packs'), packsBefore);

  rmSync(box.path('.home/.config/salvage/repositories'), { recursive: true });
  const lost = await run(box, 'src');
  assert.equal(lost.result.code, 2);
  assert.match(lost.result.stderr, /--adopt/);
  const adopted = await box.salvage(['init', '--adopt', '--repo', 'repo', '-R', 'id.pub', '--name', 'host']);
  assert.equal(adopted.code, 0, adopted.stderr);
  assert.match(adopted.stderr, /costs/);
  const after = await run(box, 'src');
  assert.equal(after.result.code, 0, after.result.stderr);
  assert.match(after.summary.snapshot, /^00000003-/);
  assert.equal(await verify(box), 3);
});

test('a pack that is gone is stored anew from the sources', async (t) => {
  const box = await prepare(t);
  const first = await run(box, 'src');
  for (const pack of listFiles(box, 'repo/packs')) rmSync(box.path(pack));
  rmSync(box.path('repo/snapshots', first.summary.snapshot), { recursive: true });
  const healed = await run(box, 'src');
  assert.equal(healed.result.code, 0, healed.result.stderr);
  assert.ok(healed.summary.bytesNew > 3_000_000);
  assert.equal(await verify(box), 1);
  await restore(box, 'out');
  assert.equal((await box.shell('diff -r src out/src')).code, 0);
});

test('what cannot be read is named, and the exit code is 3', async (t) => {
  const box = await prepare(t);
  box.write('src/secret', 'mine');
  chmodSync(box.path('src/secret'), 0);
  chmodSync(box.folder, 0o755);
  await box.shell('chown -R 65534:65534 .');
  const { code, stderr } = await box.shell(
    'setpriv --reuid 65534 --regid 65534 --clear-groups salvage backup --repo repo src',
  );
  assert.equal(code, 3, stderr);
  assert.match(stderr, /src\/secret": permission denied/);
});

test('--exclude-if-present keeps of a folder with such a file that file alone', async (t) => {
  const box = await prepare(t);
  box.write('src/d1/.nobackup', '');
  box.write('src/d2/deep/KEEP-OUT', '');
  box.write('src/d2/deep/inside', 'x');
  await run(box, '--exclude-if-present', '.nobackup', '--exclude-if-present', 'KEEP-OUT', 'src');
  await restore(box, 'out');
  assert.deepEqual(readdirSync(box.path('out/src/d1')), ['.nobackup']);
  assert.deepEqual(readdirSync(box.path('out/src/d2/deep')), ['KEEP-OUT']);
  assert.ok(existsSync(box.path('out/src/d2/f2')));
});

test('--limit-upload takes its time, and Ctrl-C does not wait for it', async (t) => {
  const box = await prepare(t);
  const { summary } = await run(box, '--limit-upload', '3M', 'src');
  const { durationMs } = summary as unknown as { durationMs: number };
  assert.ok(durationMs >= 900, `3 MB at 3 MiB a second took ${durationMs} ms`);
  box.write('src/more', pseudoRandom(3_000_000, 9));
  // The pack is finished, and waits for its time.
  const stopped = await box.shell(`salvage backup --repo repo --limit-upload 1K src & p=$!
    while [ -z "$(ls repo/.incoming 2>/dev/null)" ]; do sleep 0.02; done; kill -INT $p; wait $p || echo $?`);
  assert.match(stopped.stdout.toString(), /130/);
  assert.equal((await run(box, 'src')).result.code, 0);
});

test('what a killed run left half uploaded is removed a day later, and not before', async (t) => {
  const box = await prepare(t);
  box.write('repo/.incoming/young', 'half a pack');
  box.write('repo/.incoming/old', 'half a pack');
  await box.shell("touch -d '25 hours ago' repo/.incoming/old; touch -d '23 hours ago' repo/.incoming/young");
  assert.equal((await run(box, '-n', 'src')).result.code, 0);
  assert.equal(readdirSync(box.path('repo/.incoming')).length, 2);
  assert.equal((await run(box, 'src')).result.code, 0);
  assert.deepEqual(readdirSync(box.path('repo/.incoming')), ['young']);
});

test('a clock that is set back by years is no reason to take a changed file for an old one', async (t) => {
  const box = await prepare(t);
  const at = (time: string): string => `faketime '${time}' salvage backup --repo repo -q src`;
  const { code, stderr } = await box.shell(`${at('2031-05-01 12:00:00')}
    echo more >> src/d1/f5; ${at('2021-05-01 12:00:00')}; echo again >> src/d1/f5; salvage backup --repo repo -q src`);
  assert.equal(code, 0, stderr);
  assert.equal(await verify(box), 3);
  await restore(box, 'out');
  assert.equal((await box.shell('diff -r src out/src')).code, 0);
  const checked = await box.shell(
    'salvage verify --repo repo --allowed-signers allowed --signer host -i id; salvage snapshots --repo repo',
  );
  assert.equal(checked.code, 0, checked.stderr);
});

test('excludes and lists of paths', async (t) => {
  const box = await prepare(t);
  box.write('src/d0/keep.o', 'object');
  box.write('list', 'src/d0\nsrc/d1\n');
  const { summary } = await run(box, '--files-from', 'list', '--exclude', '*.o');
  assert.equal(summary.filesNew, 20);
  utimesSync(box.path('src/d0/f4'), 0, 0);
  writeFileSync(box.path('src/d0/f8'), 'rewritten');
  await settle();
  const next = await run(box, '--files-from', 'list', '--exclude', '*.o');
  assert.equal(next.summary.filesChanged, 2);
  assert.ok(next.summary.snapshot > summary.snapshot);
});
