// Private keys on paper, as somebody uses them who has lost everything else.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readdirSync, statSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { createSandbox } from '../support/cli.ts';
import { age13, needsPeers } from '../support/peers.ts';
import { runOnTerminal } from '../support/terminal.ts';

describe('a key on paper', needsPeers, () => {
  const box = createSandbox({ after });
  const succeeds = async (script: string): Promise<string> => {
    const { code, stdout, stderr } = await box.shell(script);
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, /AGE-SECRET-KEY/);
    return stdout.toString();
  };
  const fails = async (args: readonly string[], code: number, message: RegExp): Promise<void> => {
    const result = await box.salvage(['key', ...args]);
    assert.deepEqual([result.code, result.stdout.toString()], [code, ''], result.stderr);
    assert.match(result.stderr, message);
    assert.doesNotMatch(result.stderr, /AGE-SECRET-KEY-1|SALVAGE-SHARE-1./);
  };

  before(async () => {
    box.write('plain', 'plain text\n');
    await succeeds(
      `salvage keygen -q -o key.txt; salvage encrypt -r "$(salvage keygen -y key.txt)" -o plain.age plain
       salvage key split -k 2 -n 3 -i key.txt --name 'the restorer of web-1' -o shares`,
    );
  });

  test('two of three shares open what it opened, with age as well', async () => {
    for (const [a, b] of [
      ['1.txt', '2.html'],
      ['3.txt', '1.txt'],
    ] as const)
      await succeeds(
        `salvage key join shares/share-${a} shares/share-${b} -o again-${a}
         salvage decrypt -i again-${a} plain.age | cmp - plain
         ${age13} -d -i again-${a} plain.age | cmp - plain`,
      );
    await succeeds(
      'cat shares/share-2.txt shares/share-3.txt | salvage key join | grep -qx "$(grep -v "^#" key.txt)"',
    );
    for (const name of readdirSync(box.path('shares'))) {
      assert.equal(statSync(box.path('shares', name)).mode & 0o777, 0o600);
      const page = box.read(`shares/${name}`).toString();
      assert.match(page, /the restorer of web-1/);
      assert.doesNotMatch(page, /AGE-SECRET-KEY/);
    }
    assert.equal(statSync(box.path('again-1.txt')).mode & 0o777, 0o600);
  });

  test('too few, mixed or mistyped shares leave no key, and say why', async () => {
    await succeeds('salvage key split -q -k 2 -n 3 -i key.txt -o others');
    await fails(['join', 'shares/share-1.txt', '-o', 'none'], 1, /1 of the 2 that are needed is there/);
    await fails(['join', 'shares/share-1.txt', 'others/share-2.txt', '-o', 'none'], 1, /of the set/);
    await fails(['join', 'plain', '-o', 'none'], 1, /Cannot find a share in "plain"/);
    box.write(
      'typed',
      box
        .read('shares/share-1.txt')
        .toString()
        .replace(/(SALVAGE-SHARE-1\n.{9})./, '$1I'),
    );
    await fails(['join', 'typed', 'shares/share-2.txt', '-o', 'none'], 1, /mistyped.*"typed"/);
    assert.ok(!existsSync(box.path('none')));
  });

  test('nothing is overwritten, and no key is taken that others can read', async () => {
    await fails(
      ['join', 'shares/share-1.txt', 'shares/share-2.txt', '-o', 'key.txt'],
      1,
      /there is a file already/,
    );
    await fails(
      ['split', '-k', '2', '-n', '3', '-i', 'key.txt', '-o', 'shares'],
      1,
      /make the folder "shares"/,
    );
    box.write('open.txt', box.read('key.txt'));
    chmodSync(box.path('open.txt'), 0o644);
    await fails(['paper', '-i', 'open.txt', '-o', 'open.html'], 1, /lets others at it[^]*chmod 600/);
    for (const [args, message] of [
      [['split', '-i', 'key.txt', '-o', 'x'], /how many shares/],
      [['split', '-k', '1', '-n', '3', '-i', 'key.txt', '-o', 'x'], /at least 2 shares/],
      [['split', '-k', '2', '-n', '3', 'key.txt', '-o', 'x'], /named with -i/],
      [['paper', '-i', 'key.txt'], /no file for the page/],
      [['burn'], /it is split, join or paper/],
    ] as const)
      await fails(args, 2, message);
  });

  test('one page holds the whole key, behind a passphrase that is typed', async () => {
    const { code, screen } = await runOnTerminal(
      box,
      'salvage key paper --encrypt -i key.txt -o page.txt',
      `expect "Enter passphrase for the page"; send "on paper\\r"
       expect "Confirm passphrase: "; send "on paper\\r"`,
    );
    assert.equal(code, 0, screen);
    assert.doesNotMatch(box.read('page.txt').toString(), /AGE-SECRET-KEY/);
    box.write('passphrase', 'on paper\n', 0o600);
    await succeeds(
      `sed -n '/BEGIN AGE/,/END AGE/p' page.txt > scanned
       salvage decrypt --passphrase-file passphrase -i scanned plain.age | cmp - plain
       grep -E '^ ?[0-9]+  ([a-z]{5} ?)+$' page.txt | salvage key paper --read -o typed-key
       salvage decrypt --passphrase-file passphrase -i typed-key plain.age | cmp - plain`,
    );
  });

  test('an SSH key and a post-quantum key can be split and printed, too', async () => {
    await succeeds(
      `ssh-keygen -q -t ed25519 -a 8 -N secret -f ssh; salvage keygen -q -pq -o pq.txt
       for key in ssh pq.txt; do
         salvage key split -q -k 3 -n 5 -i $key -o shares-$key
         salvage key join shares-$key/share-[135].txt > joined; grep -v '^#' $key | cmp - joined
         salvage key paper -q -i $key -o $key.html; salvage key paper --read $key.html > read; cmp joined read
       done`,
    );
  });
});
