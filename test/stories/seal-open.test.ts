// What people do with archives: seal, list, test, open, sign, and what they are told when something is odd.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, symlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { after, before, beforeEach, describe, test } from 'node:test';
import { createSandbox, type RunResult, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';

describe('seal and open', needsPeers, () => {
  let cleanups: (() => void)[] = [];
  const runCleanups = (): void => {
    for (const clean of cleanups) clean();
    cleanups = [];
  };
  let keys: Sandbox;
  let box: Sandbox;
  const keyCleanups: (() => void)[] = [];
  before(async () => {
    keys = createSandbox({ after: (clean: () => void) => keyCleanups.push(clean) } as never);
    const { code, stderr } = await keys.shell(
      'ssh-keygen -q -t ed25519 -N "" -f id; ssh-keygen -q -t ed25519 -N "" -f host',
    );
    assert.equal(code, 0, stderr);
    keys.write('allowed_signers', `web-1 namespaces="salvage-archive" ${keys.read('host.pub').toString()}`);
  });
  beforeEach(() => {
    runCleanups();
    box = createSandbox({ after: (clean: () => void) => cleanups.push(clean) } as never);
    box.write('data/a.txt', 'alpha');
    box.write('data/sub/b.txt', 'beta');
    box.write('data/sub/cache.tmp', 'temporary');
  });
  after(() => {
    runCleanups();
    keyCleanups.forEach((clean) => clean());
  });

  const seal = (...args: string[]): Promise<RunResult> =>
    box.salvage(['seal', ...args, '-R', keys.path('id.pub')]);
  const open = (...args: string[]): Promise<RunResult> =>
    box.salvage(['open', ...args, '-i', keys.path('id')]);

  function ok({ code, stderr, stdout }: RunResult): string {
    assert.equal(code, 0, stderr);
    return stdout.toString() + stderr;
  }

  function fails({ code, stderr }: RunResult, expected: number, message: RegExp): void {
    assert.match(stderr, message);
    assert.equal(code, expected, stderr);
  }

  test('the archive has a name by host and date, and is not written over', async () => {
    ok(await seal('data'));
    const [name, ...others] = readdirSync(box.folder).filter((file) => file.includes('backup'));
    assert.deepEqual(others, []);
    assert.match(name!, /^[\w-]+-backup-\d{4}-\d\d-\d\d\.tar\.zst\.age$/);
    assert.ok(
      name!.startsWith(
        hostname()
          .split('.')[0]!
          .replace(/[^A-Za-z0-9_-]/g, '_'),
      ),
    );
    const first = box.read(name!);
    fails(await seal('data'), 1, /is there already[\s\S]*--force/);
    assert.ok(box.read(name!).equals(first));
    ok(await seal('data', '--force'));
    assert.ok(!box.read(name!).equals(first));
  });

  test('list, test and open, all of it or some members', async () => {
    ok(await seal('data', '-o', 'x.age'));
    const list = await open('x.age', '--list');
    assert.equal(
      list.stdout.toString(),
      'data/\ndata/a.txt\ndata/sub/\ndata/sub/b.txt\ndata/sub/cache.tmp\n',
    );
    assert.match(
      ok(await open('x.age', '--list', '-v')),
      /^-rw-r--r-- \S+ +4 \d{4}-\d\d-\d\d \d\d:\d\d data\/sub\/b\.txt$/m,
    );
    const json = JSON.parse(
      (await open('x.age', '--list', '--json', 'data/a.txt')).stdout.toString(),
    ) as object;
    assert.deepEqual(
      { ...json, mtime: 0, user: '', group: '', uid: 0, gid: 0 },
      {
        path: 'data/a.txt',
        type: 'file',
        mode: '0644',
        size: 5,
        mtime: 0,
        user: '',
        group: '',
        uid: 0,
        gid: 0,
      },
    );
    assert.match(ok(await open('x.age', '--test')), /All good: 5 members, 18 B/);
    ok(await open('x.age', '-C', 'all'));
    assert.equal(box.read('all/data/sub/b.txt').toString(), 'beta');
    ok(await open('x.age', './data/sub/', '-C', 'some'));
    assert.deepEqual(readdirSync(box.path('some/data')), ['sub']);
    fails(
      await open('x.age', 'data/a.txt', 'nothing/here', '-C', 'partly'),
      1,
      /Cannot find "nothing\/here"/,
    );
    assert.ok(existsSync(box.path('partly/data/a.txt')));
  });

  test('through pipes', async () => {
    const { code, stderr } = await box.shell(
      `salvage seal data -R ${keys.path('id.pub')} -o - -q | salvage open - -i ${keys.path('id')} -C piped -q`,
    );
    assert.equal(code, 0, stderr);
    assert.equal(stderr, '');
    assert.equal(box.read('piped/data/a.txt').toString(), 'alpha');
  });

  test('what is there already is kept and named, unless told otherwise', async () => {
    ok(await seal('data', '-o', 'x.age'));
    box.write('data/a.txt', 'changed');
    fails(
      await open('x.age'),
      3,
      /"data\/a\.txt": it is there already and was kept[\s\S]*--overwrite always/,
    );
    assert.equal(box.read('data/a.txt').toString(), 'changed');
    ok(await open('x.age', '--overwrite', 'always'));
    assert.equal(box.read('data/a.txt').toString(), 'alpha');
  });

  test('excludes', async () => {
    box.write('patterns', '# a comment\n*.tmp\n');
    box.write('data/cache/CACHEDIR.TAG', 'Signature: 8a477f597d28d172789f06886806bc55');
    box.write('data/cache/big', 'x');
    ok(
      await seal(
        'data',
        '-o',
        'x.age',
        '--exclude',
        'b.txt',
        '--exclude-from',
        'patterns',
        '--exclude-caches',
      ),
    );
    const { stdout } = await open('x.age', '--list');
    assert.equal(stdout.toString(), 'data/\ndata/a.txt\ndata/cache/\ndata/cache/CACHEDIR.TAG\ndata/sub/\n');
  });

  test('an archive in its own folder does not hold itself, and nothing else is left behind', async () => {
    ok(await seal('.', '-o', 'me.age', '--exclude', '.home'));
    const names = (await open('me.age', '--list')).stdout.toString().split('\n');
    assert.deepEqual(
      names.filter((name) => /age|partial/.test(name)),
      [],
    );
    assert.ok(names.includes('data/a.txt'));
    assert.deepEqual(readdirSync(box.folder).sort(), ['.home', 'data', 'me.age']);
  });

  test('signed: our signature is good for ssh-keygen and for open; a wrong one opens nothing', async () => {
    ok(await seal('data', '-o', 'x.age', '--signing-key', keys.path('host')));
    const check = await box.shell(
      `ssh-keygen -Y verify -f ${keys.path('allowed_signers')} -I web-1 -n salvage-archive -s x.age.sig < x.age`,
    );
    assert.match(ok(check), /Good "salvage-archive" signature for web-1/);
    const signed = ['--allowed-signers', keys.path('allowed_signers'), '--signer', 'web-1'];
    assert.match(ok(await open('x.age', ...signed, '-C', 'good')), /Good signature by web-1/);
    assert.equal(box.read('good/data/a.txt').toString(), 'alpha');

    fails(
      await open(
        'x.age',
        '--allowed-signers',
        keys.path('allowed_signers'),
        '--signer',
        'web-2',
        '-C',
        'bad',
      ),
      13,
      /Cannot accept/,
    );
    ok(await seal('data', '-o', 'unsigned.age'));
    fails(await open('unsigned.age', ...signed, '-C', 'bad'), 13, /unsigned\.age\.sig[\s\S]*--signature/);
    fails(await open('unsigned.age', ...signed, '--signature', 'x.age.sig', '-C', 'bad'), 13, /does not fit/);
    fails(await open('-', ...signed, '-C', 'bad'), 2, /standard input/);
    fails(await open('x.age', '--signer', 'web-1', '-C', 'bad'), 2, /belong together/);
    assert.ok(!existsSync(box.path('bad')));
  });

  test('wrong command lines', async () => {
    fails(await box.salvage(['seal', 'data', '-o', 'x.age']), 2, /no recipient/);
    fails(await seal('data', '-o', 'x.age', '--level', '20'), 2, /1 to 19/);
    fails(await seal('data', '-o', 'x.age', '--compression', 'lzma'), 2, /zstd, gzip, none/);
    fails(await seal('nothing', '-o', 'x.age'), 1, /Cannot read "nothing": no such file/);
    fails(await seal('data', '-o', 'no/folder/x.age'), 1, /no folder/);
    fails(await seal('data', '-o', '-', '--signing-key', keys.path('host')), 2, /--signature/);
    fails(await box.salvage(['seal', 'data', '-R', keys.path('id'), '-o', 'x.age']), 1, /private|Cannot/);
    assert.deepEqual(readdirSync(box.folder).sort(), ['.home', 'data']);
  });

  test(
    'what cannot be read is named and counted, the rest is stored',
    { skip: process.getuid?.() !== 0 && 'needs root to become somebody else' },
    async () => {
      const { code, stdout, stderr } = await box.shell(`
      mkfifo data/fifo; ln data/a.txt data/also-a; chmod 0 data/a.txt; chmod 755 . ; mkdir out; chmod 777 out
      cp ${keys.path('id.pub')} pub; chmod 644 pub
      setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/ "$(command -v salvage)" seal data -R pub -o out/x.age --json`);
      assert.equal(code, 3, stderr);
      assert.match(stderr, /Cannot read "data\/a\.txt": permission denied/);
      assert.match(stderr, /Cannot read "data\/also-a": permission denied/);
      assert.match(stderr, /2 things could not be stored/);
      assert.equal((JSON.parse(stdout.toString()) as { problems: number }).problems, 2);
      const list = (await open('out/x.age', '--list')).stdout.toString();
      assert.equal(list, 'data/\ndata/fifo\ndata/sub/\ndata/sub/b.txt\ndata/sub/cache.tmp\n');
    },
  );

  test('a file that is cut while it is read keeps its announced length; the rest is right', async () => {
    box.write('data/growing', Buffer.alloc(40 << 20, 'x'));
    const { code, stderr } = await box.shell(`
      mkfifo pipe
      salvage seal data -R ${keys.path('id.pub')} --compression none -o - > pipe & pid=$!
      # The pipe is full after some bytes: what is not read by then shrinks.
      exec 3< pipe; head -c 100000 <&3 > x.age; truncate -s 30M data/growing; cat <&3 >> x.age
      wait $pid`);
    assert.equal(code, 3, stderr);
    assert.match(stderr, /"data\/growing" changed: it shrank from 41943040 to 31457280 bytes/);
    ok(await open('x.age', '-C', 'out'));
    assert.equal(box.read('out/data/growing').length, 40 << 20);
    assert.equal(box.read('out/data/sub/b.txt').toString(), 'beta');
  });

  test('names with control characters reach the terminal as text', async () => {
    symlinkSync('\u001b[2Jtarget', box.path('data', 'evil\u001b]0;title\u0007\nname'));
    ok(await seal('data', '-o', 'x.age'));
    for (const args of [['--list'], ['--list', '-v'], ['-C', 'out'], ['-C', 'out']]) {
      const { stdout, stderr } = await open('x.age', ...args);
      assert.doesNotMatch(stdout.toString() + stderr, /[\u0007\u001b]/);
    }
  });
});
