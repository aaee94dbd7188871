// salvage encrypt, keygen and inspect in the place of age, age-keygen and age-inspect: the same arguments to both, in
// folders of their own. They must agree on success, make the same files, and open what the other wrote.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createSandbox, salvage, type RunOptions, type RunResult, type Sandbox } from '../support/cli.ts';
import { age13, age13Folder, needsPeers } from '../support/peers.ts';

const plaintext = Buffer.from('first line\nsecond line\n');

/** Everything the cases read, made by the real programs. */
async function prepareFixtures(box: Sandbox): Promise<void> {
  box.write('fx/plain', plaintext);
  box.write('fx/empty', '');
  box.write('fx/pass', 'correct horse\n');
  const script = `
    cd fx
    age-keygen -o key; age-keygen -o other; age-keygen -pq -o pqkey
    age-keygen -y key > recipients; age-keygen -y pqkey > pqrecipients; age-keygen -y other > other.pub
    { echo '# both'; echo; cat recipients other.pub; } > list
    ssh-keygen -q -t ed25519 -N '' -C me@host -f ssh; ssh-keygen -q -t rsa -b 2048 -N '' -f rsa
    ssh-keygen -q -t ecdsa -N '' -f ecdsa
    cat ssh.pub ecdsa.pub rsa.pub > authorized_keys
    age -R recipients -o x.age plain; age -a -R recipients -o x.asc plain; age -R recipients -o empty.age empty
    age -R pqrecipients -o pq.age plain; age -R ssh.pub -o ssh.age plain; age -R rsa.pub -o rsa.age plain
    { printf '\\n\\n'; cat x.asc; printf '\\n'; } > spaced.asc
    sed 's/$/\\r/' x.asc > crlf.asc
    head -c 100 x.age > cut-header.age; head -c -1 x.age > cut.age; { cat x.age; echo; } > trailing.age
    head -c 300000 /dev/urandom > big; age -R recipients -o big.age big
    head -c 200000 big.age > big-cut.age
    export AGE_PASSPHRASE='correct horse' AGE_PASSPHRASE_WORK_FACTOR=10
    age -e -j batchpass -o pass.age plain; age -e -j batchpass -o key.age key
    printf 'nonsense' > nonsense; printf 'age1nonsense\\n' > bad-recipients`;
  const made = await box.shell(script, { env: { PATH: `${age13Folder}:${process.env['PATH']}` } });
  assert.equal(made.code, 0, made.stderr);
}

interface Case {
  readonly name: string;
  /** {NAME} stands for the contents of a fixture. */
  readonly args: readonly string[];
  /** The name of a fixture. */
  readonly stdin?: string;
  /** Makes files in the working folder first. */
  readonly prepare?: string;
  /** Opens what was encrypted. Default: key. */
  readonly key?: string;
}

const encryptCases: readonly Case[] = [
  { name: 'no arguments', args: [] },
  { name: '-r, stdin to stdout', args: ['-r', '{recipients}'], stdin: 'plain' },
  { name: '-r twice', args: ['-r', '{recipients}', '-r', '{other.pub}', '../fx/plain'] },
  { name: '-r given twice the same', args: ['-r', '{recipients}', '-r', '{recipients}', '../fx/plain'] },
  { name: '-r of an SSH key', args: ['-r', '{ssh.pub}', '../fx/plain'], key: 'ssh' },
  { name: '-r of a post-quantum key', args: ['-r', '{pqrecipients}', '../fx/plain'], key: 'pqkey' },
  { name: '-r nonsense', args: ['-r', 'nonsense', '-o', 'out', '../fx/plain'] },
  { name: '-r github:', args: ['-r', 'github:torvalds', '-o', 'out', '../fx/plain'] },
  { name: '-r of a private key', args: ['-r', '{key}', '-o', 'out', '../fx/plain'] },
  { name: '-r of an ECDSA key', args: ['-r', '{ecdsa.pub}', '-o', 'out', '../fx/plain'] },
  {
    name: 'long flags',
    args: ['--encrypt', '--recipient', '{recipients}', '--armor', '--output', 'out', '../fx/plain'],
  },
  { name: 'long flags with =', args: ['--recipient={recipients}', '--output=out', '../fx/plain'] },
  { name: 'Go flags', args: ['-recipient', '{recipients}', '-output=out', '-armor', '--e', '../fx/plain'] },
  { name: 'short flags with =', args: ['-r={recipients}', '-o=out', '../fx/plain'] },
  {
    name: 'booleans spelled out',
    args: ['-r', '{recipients}', '-a=true', '-d=false', '-o', 'out', '../fx/plain'],
  },
  {
    name: '-- before the input',
    args: ['-r', '{recipients}', '-o', 'out', '--', '-dash'],
    prepare: 'cp ../fx/plain ./-dash',
  },
  { name: 'input -', args: ['-r', '{recipients}', '-o', 'out', '-'], stdin: 'plain' },
  { name: 'output -', args: ['-r', '{recipients}', '-o', '-', '../fx/plain'] },
  { name: 'empty input', args: ['-r', '{recipients}', '-o', 'out', '../fx/empty'], key: 'key' },
  { name: '-R', args: ['-R', '../fx/list', '-o', 'out', '../fx/plain'] },
  { name: '-R -', args: ['-R', '-', '-o', 'out', '../fx/plain'], stdin: 'recipients' },
  { name: '-R - and the input from stdin, too', args: ['-R', '-', '-o', 'out'], stdin: 'recipients' },
  { name: '-R twice', args: ['-R', '../fx/recipients', '-R', '../fx/other.pub', '-o', 'out', '../fx/plain'] },
  { name: '-R and -r', args: ['-R', '../fx/recipients', '-r', '{other.pub}', '-o', 'out', '../fx/plain'] },
  {
    name: '-R of authorized_keys',
    args: ['-R', '../fx/authorized_keys', '-o', 'out', '../fx/plain'],
    key: 'rsa',
  },
  { name: '-R of only an unsupported key', args: ['-R', '../fx/ecdsa.pub', '-o', 'out', '../fx/plain'] },
  { name: '-R of a private key', args: ['-R', '../fx/key', '-o', 'out', '../fx/plain'] },
  { name: '-R of a malformed list', args: ['-R', '../fx/bad-recipients', '-o', 'out', '../fx/plain'] },
  { name: '-R of an empty file', args: ['-R', '../fx/empty', '-o', 'out', '../fx/plain'] },
  { name: '-R of no file', args: ['-R', 'missing', '-o', 'out', '../fx/plain'] },
  {
    name: 'post-quantum and classic together',
    args: ['-R', '../fx/recipients', '-R', '../fx/pqrecipients', '-o', 'out', '../fx/plain'],
  },
  { name: '-i without -e', args: ['-i', '../fx/key', '-o', 'out', '../fx/plain'] },
  { name: '-e -i', args: ['-e', '-i', '../fx/key', '-o', 'out', '../fx/plain'] },
  { name: '-e -i of an SSH key', args: ['-e', '-i', '../fx/ssh', '-o', 'out', '../fx/plain'], key: 'ssh' },
  {
    name: '-e -i of a post-quantum key',
    args: ['-e', '-i', '../fx/pqkey', '-o', 'out', '../fx/plain'],
    key: 'pqkey',
  },
  { name: '-e -i -r', args: ['-e', '-i', '../fx/key', '-r', '{other.pub}', '-o', 'out', '../fx/plain'] },
  { name: '-j without -e', args: ['-j', 'nosuchplugin', '-o', 'out', '../fx/plain'] },
  {
    name: '-e -j of a plugin that is missing',
    args: ['-e', '-j', 'nosuchplugin', '-o', 'out', '../fx/plain'],
  },
  { name: '-p and -r', args: ['-p', '-r', '{recipients}', '-o', 'out', '../fx/plain'] },
  { name: '-p and -R', args: ['-p', '-R', '../fx/recipients', '-o', 'out', '../fx/plain'] },
  { name: '-p and -e -i', args: ['-p', '-e', '-i', '../fx/key', '-o', 'out', '../fx/plain'] },
  { name: '-e and -d', args: ['-e', '-d', '-i', '../fx/key', '-o', 'out', '../fx/x.age'] },
  { name: 'two inputs', args: ['-r', '{recipients}', '-o', 'out', '../fx/plain', '../fx/empty'] },
  { name: 'no such input', args: ['-r', '{recipients}', '-o', 'out', 'missing'] },
  { name: 'a folder as input', args: ['-r', '{recipients}', '-o', 'out', '../fx'] },
  { name: 'an output in no folder', args: ['-r', '{recipients}', '-o', 'no/out', '../fx/plain'] },
  { name: 'a folder as output', args: ['-r', '{recipients}', '-o', '../fx', '../fx/plain'] },
  { name: 'an unknown flag', args: ['-r', '{recipients}', '--nonsense', '-o', 'out', '../fx/plain'] },
  { name: 'a flag without its value', args: ['-o', 'out', '../fx/plain', '-r'] },
  {
    name: 'output is replaced',
    args: ['-r', '{recipients}', '-o', 'out', '../fx/plain'],
    prepare: 'echo old > out',
  },
  {
    name: 'output through a link',
    args: ['-r', '{recipients}', '-o', 'link', '../fx/plain'],
    prepare: 'echo old > out; ln -s out link',
  },
  {
    name: 'output is the input',
    args: ['-r', '{recipients}', '-o', 'same', 'same'],
    prepare: 'cp ../fx/plain same',
  },
  {
    name: 'output is the input under another path',
    args: ['-r', '{recipients}', '-o', './same', 'same'],
    prepare: 'cp ../fx/plain same',
  },
  {
    name: 'output is the input through a symbolic link',
    args: ['-r', '{recipients}', '-o', 'link', 'same'],
    prepare: 'cp ../fx/plain same; ln -s same link',
  },
  {
    name: 'output is the input through a hard link',
    args: ['-r', '{recipients}', '-o', 'link', 'same'],
    prepare: 'cp ../fx/plain same; ln same link',
  },
  {
    name: 'output is the recipients file',
    args: ['-R', 'same', '-o', 'same', '../fx/plain'],
    prepare: 'cp ../fx/recipients same',
  },
];

const decryptCases: readonly Case[] = [
  { name: '-d, stdin to stdout', args: ['-d', '-i', '../fx/key'], stdin: 'x.age' },
  { name: '-d to a file', args: ['-d', '-i', '../fx/key', '-o', 'out', '../fx/x.age'] },
  { name: 'long flags', args: ['--decrypt', '--identity', '../fx/key', '--output', 'out', '../fx/x.age'] },
  { name: 'Go flags', args: ['-decrypt', '-identity=../fx/key', '-output=out', '../fx/x.age'] },
  { name: 'armored', args: ['-d', '-i', '../fx/key', '../fx/x.asc'] },
  { name: 'armored with white space around', args: ['-d', '-i', '../fx/key', '../fx/spaced.asc'] },
  { name: 'armored with CRLF', args: ['-d', '-i', '../fx/key', '../fx/crlf.asc'] },
  { name: 'an empty plaintext to a file', args: ['-d', '-i', '../fx/key', '-o', 'out', '../fx/empty.age'] },
  { name: 'an empty plaintext to stdout', args: ['-d', '-i', '../fx/key', '../fx/empty.age'] },
  {
    name: 'several identities',
    args: ['-d', '-i', '../fx/other', '-i', '../fx/pqkey', '-i', '../fx/key', '../fx/x.age'],
  },
  { name: 'the same identity twice', args: ['-d', '-i', '../fx/key', '-i', '../fx/key', '../fx/x.age'] },
  { name: '-i -', args: ['-d', '-i', '-', '../fx/x.age'], stdin: 'key' },
  { name: '-i - and the input from stdin, too', args: ['-d', '-i', '-', '-o', 'out'], stdin: 'key' },
  { name: 'post-quantum', args: ['-d', '-i', '../fx/pqkey', '../fx/pq.age'] },
  { name: 'an SSH key', args: ['-d', '-i', '../fx/ssh', '../fx/ssh.age'] },
  { name: 'an RSA key', args: ['-d', '-i', '../fx/rsa', '../fx/rsa.age'] },
  { name: 'a large file', args: ['-d', '-i', '../fx/key', '-o', 'out', '../fx/big.age'] },
  { name: 'the wrong identity', args: ['-d', '-i', '../fx/other', '-o', 'out', '../fx/x.age'] },
  {
    name: 'the wrong identity over an old file',
    args: ['-d', '-i', '../fx/other', '-o', 'out', '../fx/x.age'],
    prepare: 'echo old > out',
  },
  { name: 'no identity', args: ['-d', '-o', 'out', '../fx/x.age'] },
  {
    name: 'an identity for a file with a passphrase',
    args: ['-d', '-i', '../fx/key', '-o', 'out', '../fx/pass.age'],
  },
  { name: 'a passphrase, and nobody to ask', args: ['-d', '-o', 'out', '../fx/pass.age'] },
  {
    name: 'an encrypted identity file, and nobody to ask',
    args: ['-d', '-i', '../fx/key.age', '-o', 'out', '../fx/x.age'],
  },
  {
    name: 'an encrypted identity file that is not needed',
    args: ['-d', '-i', '../fx/key.age', '-i', '../fx/key', '-o', 'out', '../fx/x.age'],
  },
  { name: 'a public key as identity', args: ['-d', '-i', '../fx/recipients', '-o', 'out', '../fx/x.age'] },
  {
    name: 'an SSH public key as identity',
    args: ['-d', '-i', '../fx/ssh.pub', '-o', 'out', '../fx/ssh.age'],
  },
  { name: 'an ECDSA key as identity', args: ['-d', '-i', '../fx/ecdsa', '-o', 'out', '../fx/x.age'] },
  { name: 'an empty identity file', args: ['-d', '-i', '../fx/empty', '-o', 'out', '../fx/x.age'] },
  { name: 'no such identity file', args: ['-d', '-i', 'missing', '-o', 'out', '../fx/x.age'] },
  { name: 'a plugin that is missing', args: ['-d', '-j', 'nosuchplugin', '-o', 'out', '../fx/x.age'] },
  { name: '-a', args: ['-d', '-a', '-i', '../fx/key', '-o', 'out', '../fx/x.asc'] },
  { name: '-p', args: ['-d', '-p', '-o', 'out', '../fx/pass.age'] },
  { name: '-r', args: ['-d', '-r', '{recipients}', '-o', 'out', '../fx/x.age'] },
  { name: '-R', args: ['-d', '-R', '../fx/recipients', '-o', 'out', '../fx/x.age'] },
  { name: 'not an age file', args: ['-d', '-i', '../fx/key', '-o', 'out', '../fx/nonsense'] },
  { name: 'an empty file', args: ['-d', '-i', '../fx/key', '-o', 'out', '../fx/empty'] },
  { name: 'cut in the header', args: ['-d', '-i', '../fx/key', '-o', 'out', '../fx/cut-header.age'] },
  { name: 'cut in the only chunk', args: ['-d', '-i', '../fx/key', '-o', 'out', '../fx/cut.age'] },
  { name: 'data after the end', args: ['-d', '-i', '../fx/key', '-o', 'out', '../fx/trailing.age'] },
  {
    name: 'output is the input',
    args: ['-d', '-i', '../fx/key', '-o', 'same', 'same'],
    prepare: 'cp ../fx/x.age same',
  },
  {
    name: 'output is the identity',
    args: ['-d', '-i', 'same', '-o', 'same', '../fx/x.age'],
    prepare: 'cp ../fx/key same',
  },
  {
    name: 'output is the identity through a link',
    args: ['-d', '-i', 'link', '-o', 'same', '../fx/x.age'],
    prepare: 'cp ../fx/key same; ln -s same link',
  },
];

const keygenCases: readonly Case[] = [
  { name: 'to stdout', args: [] },
  { name: '-pq', args: ['-pq'] },
  { name: '--pq -o', args: ['--pq', '-o', 'out'] },
  { name: '-o', args: ['-o', 'out'] },
  { name: '-output=', args: ['-output=out'] },
  { name: '-o over an old file', args: ['-o', 'out'], prepare: 'echo old > out' },
  { name: 'an input without -y', args: ['../fx/key'] },
  { name: '-y', args: ['-y', '../fx/key'] },
  { name: '-y of a post-quantum key', args: ['-y', '../fx/pqkey'] },
  { name: '-y from stdin', args: ['-y'], stdin: 'key' },
  { name: '-y -o', args: ['-y', '-o', 'out', '../fx/key'] },
  { name: '-y -pq', args: ['-y', '-pq', '../fx/key'] },
  { name: '-y of nonsense', args: ['-y', '-o', 'out', '../fx/nonsense'] },
  { name: '-y of an empty file', args: ['-y', '../fx/empty'] },
  { name: '-y of no file', args: ['-y', 'missing'] },
  { name: '-y of two files', args: ['-y', '../fx/key', '../fx/other'] },
];

const inspectFixtures = [
  'x.age',
  'x.asc',
  'crlf.asc',
  'spaced.asc',
  'empty.age',
  'pq.age',
  'ssh.age',
  'rsa.age',
  'pass.age',
  'big.age',
];
const inspectFailures = ['nonsense', 'empty', 'cut-header.age', 'missing'];

describe('in the place of age 1.3', needsPeers, () => {
  const box = createSandbox({ after });
  let caseNumber = 0;
  before(() => prepareFixtures(box));

  /** Runs the case in two folders: by the peer, and by salvage. */
  async function runBoth(
    { args, stdin, prepare }: Case,
    peer: string,
    command: string,
  ): Promise<{ theirs: RunResult; ours: RunResult; theirFolder: string; ourFolder: string }> {
    caseNumber++;
    const filled = args.map((argument) =>
      argument.replace(/\{(.+)\}/, (_, name: string) => box.read(`fx/${name}`).toString().trim()),
    );
    const theirFolder = box.path(`${caseNumber}-peer`);
    const ourFolder = box.path(`${caseNumber}-salvage`);
    for (const folder of [theirFolder, ourFolder]) {
      mkdirSync(folder);
      if (prepare !== undefined) assert.equal((await box.shell(prepare, { cwd: folder })).code, 0);
    }
    const before = contents(ourFolder);
    const input = stdin === undefined ? {} : { stdin: box.read(`fx/${stdin}`) };
    // Without a controlling terminal: nobody is there to be asked.
    const runIn = (cwd: string, program: string, programArgs: readonly string[]): Promise<RunResult> =>
      box.program('/usr/bin/setsid', ['-w', program, ...programArgs], { ...input, cwd });
    const [theirs, ours] = await Promise.all([
      runIn(theirFolder, join(age13Folder, peer), filled),
      runIn(ourFolder, 'salvage', [command, ...filled]),
    ]);
    const said = `age: ${theirs.code} ${theirs.stderr}\nsalvage: ${ours.code} ${ours.stderr}`;
    assert.equal(ours.code === 0, theirs.code === 0, said);
    assert.doesNotMatch(ours.stderr, /this is a bug/);
    // age may leave part of a file behind; salvage leaves everything as it was.
    if (ours.code === 0) assert.deepEqual(readdirSync(ourFolder), readdirSync(theirFolder));
    else assert.deepEqual(contents(ourFolder), before);
    return { theirs, ours, theirFolder, ourFolder };
  }

  const contents = (folder: string): [name: string, data: Buffer][] =>
    readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]);

  const result = (folder: string, { stdout }: RunResult): Buffer => {
    const path = join(folder, 'out');
    return existsSync(path) ? readFileSync(path) : stdout;
  };

  describe('age -e', { concurrency: 2 }, () => {
    for (const each of encryptCases)
      test(each.name, async () => {
        const { theirs, ours, theirFolder, ourFolder } = await runBoth(each, 'age', 'encrypt');
        if (ours.code !== 0) return;
        const key = box.path('fx', each.key ?? 'key');
        const expected = each.args.includes('../fx/empty') ? Buffer.alloc(0) : plaintext;
        const [byAge, bySalvage] = await Promise.all([
          box.program(age13, ['-d', '-i', key], { stdin: result(ourFolder, ours) }),
          box.salvage(['decrypt', '-i', key], { stdin: result(theirFolder, theirs) }),
        ]);
        assert.deepEqual(byAge.stdout, expected, byAge.stderr);
        assert.deepEqual(bySalvage.stdout, expected, bySalvage.stderr);
      });
  });

  describe('age -d', { concurrency: 2 }, () => {
    for (const each of decryptCases)
      test(each.name, async () => {
        const { theirs, ours, theirFolder, ourFolder } = await runBoth(each, 'age', 'encrypt');
        if (ours.code === 0) assert.deepEqual(result(ourFolder, ours), result(theirFolder, theirs));
      });

    test('decrypt needs no -d', async () => {
      const { code, stdout } = await box.salvage(['decrypt', '-i', 'fx/key', 'fx/x.age']);
      assert.deepEqual([code, stdout], [0, plaintext]);
    });
  });

  describe('age-keygen', { concurrency: 2 }, () => {
    for (const each of keygenCases)
      test(each.name, async () => {
        const { theirs, ours, theirFolder, ourFolder } = await runBoth(each, 'age-keygen', 'keygen');
        if (ours.code !== 0) return;
        if (each.args.includes('-y')) {
          assert.deepEqual(result(ourFolder, ours), result(theirFolder, theirs));
          return;
        }
        const keys = result(ourFolder, ours).toString();
        const [, announced] = /^Public key: (\S+)$/m.exec(ours.stderr) ?? [];
        assert.match(
          keys,
          /^# created: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n# public key: (\S+)\nAGE-SECRET-KEY-(PQ-)?1[A-Z0-9]+\n$/,
        );
        assert.match(theirs.stderr, /^Public key: /m);
        const derived = await box.program(join(age13Folder, 'age-keygen'), ['-y'], { stdin: keys });
        assert.equal(derived.stdout.toString().trim(), announced);
      });
  });

  test('a key file may be read by its owner only, even if the umask allows more', async () => {
    const made = await box.shell('umask 000; salvage keygen -o private-key; stat -c %a private-key');
    assert.equal(made.stdout.toString(), '600\n');
  });

  test('age-inspect --json', async () => {
    for (const name of inspectFixtures) {
      const path = box.path('fx', name);
      const theirs = await box.program(join(age13Folder, 'age-inspect'), ['--json', path]);
      assert.deepEqual((await box.salvage(['inspect', '--json', path])).stdout, theirs.stdout, name);
      assert.deepEqual(
        (await box.salvage(['inspect', '-json'], { stdin: box.read(`fx/${name}`) })).stdout,
        theirs.stdout,
        name,
      );
    }
    for (const name of inspectFailures)
      assert.notEqual((await box.salvage(['inspect', `fx/${name}`])).code, 0, name);
  });

  test('inspect for a human', async () => {
    const { stdout } = await box.salvage(['inspect', 'fx/x.asc']);
    const theirs = await box.program(join(age13Folder, 'age-inspect'), ['fx/x.asc']);
    const total = /Total +(\d+) bytes/;
    assert.equal(total.exec(stdout.toString())?.[1], total.exec(theirs.stdout.toString())?.[1]);
    assert.match(stdout.toString(), /ASCII-armored[^]*"X25519"[^]*NOT use post-quantum/);
  });

  test('who is named twice on the command line is warned of, as age does it, and not who is in two lists', async () => {
    const twice = async (
      program: string,
      args: readonly string[],
      expected: RegExp | undefined,
    ): Promise<void> => {
      const { code, stderr } = await box.program(program, args);
      assert.equal(code, 0, stderr);
      if (expected) assert.match(stderr, expected);
      else assert.equal(stderr, '');
    };
    const recipient = box.read('fx/recipients').toString().trim();
    const list = ['-R', 'fx/recipients'];
    const key = ['-i', 'fx/key'];
    for (const [encrypt, decrypt, word] of [
      [[age13], [age13, '-d'], /duplicate/],
      [[salvage, 'encrypt'], [salvage, 'decrypt'], /is given more than once/],
    ] as const) {
      const [program, ...args] = encrypt;
      const to = (...more: string[]): string[] => [...args, ...more, '-o', 'twice.age', 'fx/plain'];
      await twice(program!, to('-r', recipient, '-r', recipient), word);
      await twice(program!, to(...list, ...list), word);
      await twice(program!, to('-r', recipient, ...list), undefined);
      await twice(decrypt[0]!, [...decrypt.slice(1), ...key, ...key, 'fx/x.age'], word);
    }
  });

  describe('passphrases without a terminal', () => {
    const opens = async (args: readonly string[], options?: RunOptions): Promise<void> => {
      const { code, stdout, stderr } = await box.salvage(['decrypt', ...args], options);
      assert.deepEqual([code, stdout], [0, plaintext], stderr);
    };

    test('from a file, a descriptor, a command', async () => {
      await opens(['--passphrase-file', 'fx/pass', 'fx/pass.age']);
      await opens(['--passphrase-command', 'cat fx/pass', 'fx/pass.age']);
      await opens(['--passphrase-fd', '0', 'fx/pass.age'], { stdin: 'correct horse\n' });
      const { stdout } = await box.shell('salvage decrypt --passphrase-fd 3 fx/pass.age 3< fx/pass');
      assert.deepEqual(stdout, plaintext);
    });

    test('for an encrypted identity file and an encrypted SSH key', async () => {
      await opens(['--passphrase-file', 'fx/pass', '-i', 'fx/key.age', 'fx/x.age']);
      await box.shell('cp fx/ssh ssh-locked; ssh-keygen -q -p -P "" -N "correct horse" -f ssh-locked');
      await opens(['--passphrase-file', 'fx/pass', '-i', 'ssh-locked', 'fx/ssh.age']);
    });

    test('what is encrypted with one opens with age', async () => {
      const made = await box.salvage([
        'encrypt',
        '--passphrase-file',
        'fx/pass',
        '-o',
        'with-pass.age',
        'fx/plain',
      ]);
      assert.equal(made.code, 0, made.stderr);
      const opened = await box.program(age13, ['-d', '-j', 'batchpass', 'with-pass.age'], {
        env: { AGE_PASSPHRASE: 'correct horse', PATH: `${age13Folder}:/usr/bin:/bin` },
      });
      assert.deepEqual(opened.stdout, plaintext, opened.stderr);
    });

    test('mistakes', async () => {
      const fails = async (code: number, args: readonly string[], options?: RunOptions): Promise<void> => {
        const run = await box.salvage([...args, '-o', 'must-not-exist'], options);
        assert.equal(run.code, code, run.stderr);
        assert.ok(!existsSync(box.path('must-not-exist')));
        assert.doesNotMatch(run.stderr, /correct horse/);
      };
      box.write('wrong', 'wrong\n');
      await fails(12, ['decrypt', '--passphrase-file', 'wrong', 'fx/pass.age']);
      await fails(1, ['decrypt', '--passphrase-file', 'wrong', '-i', 'fx/key.age', 'fx/x.age']);
      await fails(1, ['decrypt', '--passphrase-file', 'missing', 'fx/pass.age']);
      await fails(1, ['decrypt', '--passphrase-command', 'false', 'fx/pass.age']);
      await fails(1, ['encrypt', '--passphrase-file', 'fx/empty', 'fx/plain']);
      await fails(2, [
        'decrypt',
        '--passphrase-file',
        'fx/pass',
        '--passphrase-command',
        'true',
        'fx/pass.age',
      ]);
      await fails(2, ['decrypt', '--passphrase-fd', '0'], { stdin: 'correct horse\n' });
      await fails(2, ['decrypt', '--passphrase-fd', 'x', 'fx/pass.age']);
      await fails(2, ['encrypt', '--passphrase-file', 'fx/pass', '-R', 'fx/recipients', 'fx/plain']);
    });
  });
});
