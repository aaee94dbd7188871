// Real plugins under salvage, and ours under the real age, with keys in SoftHSM.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { encodePluginIdentity } from '../../src/age/plugin/plugin-text.ts';
import { checkoutSalvage, createSandbox, salvage, type RunOptions } from '../support/cli.ts';
import { age11, age13, age13Folder, needsPeers } from '../support/peers.ts';
import { runOnTerminal } from '../support/terminal.ts';

const softhsm = '/usr/lib/softhsm/libsofthsm2.so';
/** The fixed key of age-plugin-tagtest. */
const tagTestRecipient = 'age1tag1qwe0kafsjrar4txm6heqnhpfuggzr0gvznz7fvygxrlq90u5mq2pysxtw6h';
const withPlugins = `${age13Folder}:${dirname(salvage)}:/usr/bin:/bin`;

describe('plugins of age 1.3', needsPeers, () => {
  const box = createSandbox({ after });
  const env = { PATH: withPlugins, AGE_PASSPHRASE_WORK_FACTOR: '8' };
  before(async () => {
    box.write('plain', 'plain text\n');
    const { code, stderr } = await box.shell(
      `age-keygen -pq -o pq 2>/dev/null; age-plugin-pq -identity pq > plugin-pq 2>/dev/null
       age -R <(age-keygen -y pq) -o pq.age plain`,
      { env },
    );
    assert.equal(code, 0, stderr);
  });

  test('open files: age-plugin-pq from an identity, age-plugin-tagtest by -j', async () => {
    const made = await box.salvage(['encrypt', '-r', tagTestRecipient, '-o', 'tag.age', 'plain']);
    assert.equal(made.code, 0, made.stderr);
    for (const args of [
      ['-i', 'plugin-pq', 'pq.age'],
      ['-j', 'tagtest', 'tag.age'],
      ['-j', 'missing', '-j', 'tagtest', 'tag.age'],
    ]) {
      const { code, stdout, stderr } = await box.salvage(['decrypt', ...args], { env });
      assert.deepEqual([code, stdout.toString(), stderr], [0, 'plain text\n', '']);
    }
  });

  test('age-plugin-batchpass encrypts and decrypts, with its passphrase from a variable or a descriptor', async () => {
    const { code, stderr } = await box.shell(
      `salvage encrypt -e -j batchpass -o pass.age plain
       age -d -j batchpass pass.age | cmp - plain
       unset AGE_PASSPHRASE; AGE_PASSPHRASE_FD=3 salvage decrypt -j batchpass pass.age 3<<<secret | cmp - plain`,
      { env: { ...env, AGE_PASSPHRASE: 'secret' } },
    );
    assert.equal(code, 0, stderr);
    const wrong = await box.salvage(['decrypt', '-j', 'batchpass', 'pass.age'], {
      env: { ...env, AGE_PASSPHRASE: 'wrong' },
    });
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /with the plugin "batchpass": incorrect passphrase/);
  });

  test('a recipient of a plugin serves encrypt, seal and repositories', async () => {
    const { code, stderr } = await box.shell(
      `mkdir bin; cat > bin/age-plugin-toy <<< '#!/bin/sh
       exec ${process.execPath} ${import.meta.dirname}/../support/toy-plugin.ts "$@"'
       chmod 755 bin/age-plugin-toy; PATH=$PWD/bin:$PATH
       printf '# mine\\nage1toy1v9h8jwr4zcj\\n' > toys
       salvage encrypt -R toys -o toy.age plain; salvage decrypt -j toy toy.age | cmp - plain
       mkdir data; cp plain data; salvage seal -q -R toys -o data.tar.zst.age data
       salvage open --test -j toy data.tar.zst.age
       salvage init --repo repo -R toys > signers; salvage backup -q --repo repo data
       salvage cat latest data/plain --repo repo -j toy --allowed-signers signers | cmp - plain`,
      { env },
    );
    assert.equal(code, 0, stderr);
  });
});

describe('a plugin that has something to say', needsPeers, () => {
  const box = createSandbox({ after });
  const env = { PATH: `${box.path('bin')}:${withPlugins}` };
  const identity = (behaviour: string): string => `${encodePluginIdentity('toy', Buffer.from(behaviour))}\n`;
  before(async () => {
    box.write('plain', 'plain text\n');
    const program = box.path('bin', 'age-plugin-toy');
    const toy = join(import.meta.dirname, '..', 'support', 'toy-plugin.ts');
    box.write('bin/age-plugin-toy', `#!/bin/sh\nexec ${process.execPath} ${toy} "$@"\n`);
    chmodSync(program, 0o755);
    for (const behaviour of ['pin', 'choice']) box.write(behaviour, identity(behaviour), 0o600);
    const { code, stderr } = await box.salvage(['encrypt', '-e', '-j', 'toy', '-o', 'toy.age', 'plain'], {
      env,
    });
    assert.equal(code, 0, stderr);
  });

  test('says it on the terminal and has a choice made there, even with -q', async () => {
    for (const [typed, expected] of [
      ['1', 0],
      ['x\\r2', 12],
    ] as const) {
      const { code, screen } = await runOnTerminal(
        box,
        'salvage decrypt -q -i choice toy.age',
        `expect "toy: Plug in the toy"
         expect "Press 1 for \\"it is there\\", 2 for \\"leave it\\", then Enter: "; send "${typed}\\r"
         expect "toy: Touch the toy"; expect "toy: now"`,
        { env },
      );
      assert.equal(code, expected, screen);
      assert.equal(/plain text/.test(screen), expected === 0);
    }
  });

  test('gets a PIN that is typed, again if need be, and one from a file only once', async () => {
    const { code, screen } = await runOnTerminal(
      box,
      'salvage decrypt -i pin toy.age',
      `expect "toy: PIN of the toy: "; send "1111\\r"
       expect "toy: Wrong. PIN of the toy: "; send "1234\\r"`,
      { env },
    );
    assert.equal(code, 0, screen);
    assert.doesNotMatch(screen, /1111|1234/);
    box.write('right', '1234\n');
    box.write('wrong', '1111\n');
    const opened = await box.salvage(['decrypt', '-i', 'pin', '--passphrase-file', 'right', 'toy.age'], {
      env,
    });
    assert.equal(opened.stdout.toString(), 'plain text\n', opened.stderr);
    const refused = await box.salvage(['decrypt', '-i', 'pin', '--passphrase-file', 'wrong', 'toy.age'], {
      env,
    });
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /the PIN is needed/);
  });
});

describe('age-plugin-pkcs11', needsPeers, () => {
  const box = createSandbox({ after });
  const env: Record<string, string> = { PATH: withPlugins, SOFTHSM2_CONF: box.path('softhsm.conf') };
  const run = (script: string, options: RunOptions = {}): ReturnType<typeof box.shell> =>
    box.shell(script, { ...options, env: { ...env, ...options.env } });
  const succeeds = async (script: string, options?: RunOptions): Promise<string> => {
    const { code, stdout, stderr } = await run(script, options);
    assert.equal(code, 0, stderr);
    return stdout.toString();
  };

  before(async () => {
    box.write('plain', 'plain text\n');
    box.write('pin', '1234\n', 0o600);
    box.write('wrong', '4321\n', 0o600);
    box.write('softhsm.conf', `directories.tokendir = ${box.path('tokens')}\nobjectstore.backend = file\n`);
    await succeeds(
      `mkdir tokens; softhsm2-util --init-token --free --label backup --pin 1234 --so-pin 5678
       salvage keygen --token ${softhsm}:backup --pin-file pin -o key -q
       salvage keygen -y key > key.pub`,
    );
  });

  test('keygen makes a key that cannot leave the token, and tells its public half', async () => {
    const identity = box.read('key').toString();
    const recipient = box.read('key.pub').toString().trim();
    assert.match(recipient, /^age1tag1[a-z0-9]+$/);
    assert.match(identity, new RegExp(`^# public key: ${recipient}$`, 'm'));
    assert.match(identity, /^# key "age" in the token "backup", serial number [0-9a-f]+/m);
    assert.match(identity, /^AGE-PLUGIN-PKCS11-1[A-Z0-9]+$/m);
    // The key is looked for as an attacker with the PIN would.
    const looking = `
      import { loadCryptoki } from '${dirname(checkoutSalvage)}/src/pkcs11/load-cryptoki.ts';
      const module = loadCryptoki('${softhsm}');
      const [token] = module.tokens();
      const session = module.openSession(token.slot, 'read');
      module.login(session, Buffer.from('1234'));
      const [key] = module.findObjects(session, [[0, 3]]);
      for (const type of [0x11, 0x162, 0x103, 0x164, 0x165, 0x108, 0x105])
        console.log(type.toString(16), Buffer.from(module.readAttribute(session, key, type) ?? []).toString('hex'));`;
    const { stdout, stderr } = await box.program(process.execPath, ['--input-type=module', '-e', looking], {
      env,
    });
    assert.equal(
      stdout.toString(),
      // No value; not extractable, sensitive, never extractable, always sensitive; neither signs nor decrypts.
      '11 \n162 00\n103 01\n164 01\n165 01\n108 00\n105 00\n',
      stderr,
    );
  });

  test('a lost identity file is made again from the token', async () => {
    const found = await succeeds(`salvage keygen --token ${softhsm} --pin-command 'cat pin' -y`);
    assert.match(box.read('key').toString(), new RegExp(/^AGE-PLUGIN.*$/m.exec(found)![0]));
  });

  test('age 1.3, age 1.1 and salvage decrypt with it, the PIN from a file, a descriptor, a command', async () => {
    await succeeds(`age -R key.pub -o by-age.age plain; salvage encrypt -R key.pub -o by-salvage.age plain
                    age -e -i key -o by-identity.age plain`);
    for (const file of ['by-age.age', 'by-salvage.age', 'by-identity.age'])
      await succeeds(
        `export AGE_PKCS11_PIN_FILE=$PWD/pin
         ${age13} -d -i key ${file} | cmp - plain
         ${age11} -d -i key ${file} | cmp - plain
         salvage decrypt -i key ${file} | cmp - plain`,
      );
    await succeeds(
      `salvage decrypt -i key --passphrase-file pin by-age.age | cmp - plain
       AGE_PKCS11_PIN_FD=3 salvage decrypt -i key by-age.age 3<pin | cmp - plain
       AGE_PKCS11_PIN_FD=3 age -d -i key by-age.age 3<pin | cmp - plain
       AGE_PKCS11_PIN_COMMAND="cat '$PWD/pin'" age -d -i key by-age.age | cmp - plain`,
    );
  });

  test('age asks for the PIN on its terminal', async () => {
    await succeeds('age -R key.pub -o plain.age plain');
    const { code, screen } = await runOnTerminal(
      box,
      `${age13} -d -i key plain.age`,
      'expect "Enter the PIN of the token"; send "1234\\r"',
      { env },
    );
    assert.equal(code, 0, screen);
    assert.match(screen, /plain text/);
  });

  test('a wrong PIN, no PIN, no token, another module: errors that say so', async () => {
    await succeeds('age -R key.pub -o plain.age plain');
    const fails = async (script: string, message: RegExp): Promise<void> => {
      const { code, stdout, stderr } = await run(script);
      assert.equal(code, 1, stderr);
      assert.equal(stdout.toString(), '');
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /4321|1234/);
    };
    await fails(
      'salvage decrypt -i key --passphrase-file wrong plain.age',
      /token "backup": the PIN is wrong/,
    );
    await fails('AGE_PKCS11_PIN_FILE=$PWD/wrong age -d -i key plain.age', /token "backup": the PIN is wrong/);
    await fails(`salvage keygen --token ${softhsm} --pin-file wrong`, /token "backup": the PIN is wrong/);
    await fails('setsid -w salvage decrypt -i key plain.age', /its PIN is needed, and nobody gave it/);
    await fails('AGE_PKCS11_MODULE=/etc/passwd salvage decrypt -i key plain.age', /module "\/etc\/passwd"/);
    await fails(`salvage keygen --token ${softhsm}:other --pin-file pin`, /there is only "backup"/);
    renameSync(box.path('tokens'), box.path('pulled-out'));
    try {
      await fails(
        'mkdir -p tokens; setsid -w salvage decrypt -i key plain.age',
        /token "backup".*not plugged in/,
      );
    } finally {
      await succeeds('rmdir tokens; mv pulled-out tokens');
    }
  });

  test('salvage restores a repository with one run of the plugin, and the PIN typed once', async () => {
    await succeeds(
      `mkdir data; for each in one two three; do echo $each > data/$each; done
       salvage init --name host --repo repo -R key.pub > signers
       for each in 1 2 3; do head -c 70000 /dev/urandom > data/$each; salvage backup -q --repo repo data; done`,
    );
    const counting = box.path('counting', 'age-plugin-pkcs11');
    box.write(
      'counting/age-plugin-pkcs11',
      `#!/bin/sh\necho run >> ${box.path('runs')}\nexec ${dirname(salvage)}/age-plugin-pkcs11 "$@"\n`,
    );
    chmodSync(counting, 0o755);
    const path = { env: { ...env, PATH: `${dirname(counting)}:${withPlugins}` } };
    const runs = (): number => readFileSync(box.path('runs'), 'utf8').split('\n').length - 1;
    const common = '--repo repo -i key --allowed-signers signers';
    const { code, screen } = await runOnTerminal(
      box,
      `salvage restore latest ${common} --target out`,
      `expect "Enter the PIN of the token"; send "9999\\r"
       expect "Wrong PIN"; send "1234\\r"`,
      path,
    );
    assert.equal(code, 0, screen);
    assert.doesNotMatch(screen, /1234|9999/);
    await succeeds('diff -r data out/data');
    assert.equal(runs(), 1);
    // All snapshots with all their packs, and a single file, whose packs are not known beforehand: one PIN each.
    for (const command of [`verify ${common}`, `cat latest data/two ${common}`]) {
      writeFileSync(box.path('runs'), '');
      const result = await runOnTerminal(
        box,
        `salvage ${command}`,
        'expect "Enter the PIN of the token"; send "1234\\r"',
        path,
      );
      assert.equal(result.code, 0, result.screen);
      assert.equal(result.screen.match(/Enter the PIN/g)?.length, 1, result.screen);
      assert.ok(runs() <= 3, String(runs()));
    }
  });

  test('the program says what it is for, and knows no other protocol', async () => {
    assert.match(await succeeds('age-plugin-pkcs11 --help'), /salvage keygen --token/);
    assert.equal((await run('age-plugin-pkcs11 --nonsense')).code, 2);
    const { code, stderr } = await run('age-plugin-pkcs11 --age-plugin=identity-v9 < /dev/null');
    assert.deepEqual(
      [code, stderr],
      [2, 'age-plugin-pkcs11: Cannot serve the state machine "identity-v9": it is not known here\n'],
    );
    assert.ok(existsSync(softhsm));
  });
});
