// What every command has in common: help, mistakes, exit codes, ends before the end.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { commands } from '../../src/cli/commands.ts';
import { version } from '../../src/cli/version.ts';
import { createSandbox, salvage } from '../support/cli.ts';

const root = join(import.meta.dirname, '..', '..');

describe('the command line', () => {
  const box = createSandbox({ after });

  test('--version is the version of the package', async () => {
    const { version: packaged } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      version: string;
    };
    assert.equal(version, packaged);
    for (const args of [['--version'], ['-V'], ['encrypt', '--version']])
      assert.equal((await box.salvage(args)).stdout.toString(), `${packaged}\n`);
  });

  test('--version loads nothing but itself', () => {
    const main = readFileSync(join(root, 'src/cli/main.ts'), 'utf8');
    const imported = [...main.matchAll(/^import (?!type)[^;]*from '([^']+)'/gm)].map(([, path]) => path);
    assert.deepEqual(imported, ['./version.ts']);
  });

  test('help lists every command, with examples first and exit codes last', async () => {
    const { code, stdout, stderr } = await box.salvage(['--help']);
    assert.deepEqual([code, stderr], [0, '']);
    const help = stdout.toString();
    for (const [name, { summary }] of Object.entries(commands)) {
      assert.ok(help.includes(`  ${name} `), name);
      assert.ok(help.includes(summary), name);
    }
    assert.match(help, /^Examples:\n {2}.*salvage .*\n {2}.*salvage .*\n/);
    assert.match(help, /\nExit codes:\n(?: .*\n)+$/);
    for (const line of help.split('\n')) assert.ok(line.length <= 100, line);
  });

  test('the help of each command has two examples first and the exit codes last', async () => {
    for (const name of Object.keys(commands)) {
      const { code, stdout, stderr } = await box.salvage([name, '--help']);
      assert.equal(code, 0, stderr);
      assert.match(
        stdout.toString(),
        new RegExp(`^Examples:\n(  .*salvage ${name}.*\n( {6}.*\n)*){2,}\nUsage: salvage ${name} `),
      );
      assert.match(stdout.toString(), /\nExit codes:\n(?: .*\n)+$/);
    }
    const viaHelp = await box.salvage(['help', 'encrypt']);
    assert.deepEqual(viaHelp.stdout, (await box.salvage(['encrypt', '--help'])).stdout);
  });

  test('mistakes end with 2 and say what was probably meant', async () => {
    const table: [args: string[], hint: RegExp][] = [
      [[], /salvage --help/],
      [['encrpt'], /did you mean salvage encrypt\?/],
      [['dec'], /did you mean salvage decrypt\?/],
      [['xyzzy'], /salvage --help lists the commands/],
      [['constructor'], /there is no such command/],
      [['encrypt', '--recipent', 'x'], /Did you mean --recipient\?/],
      [['encrypt', '-r'], /argument missing/],
      [['inspect', 'a', 'b'], /too many arguments/],
    ];
    for (const [args, hint] of table) {
      const { code, stdout, stderr } = await box.salvage(args);
      assert.equal(code, 2, stderr);
      assert.equal(stdout.length, 0);
      assert.match(stderr, hint);
    }
  });

  test('what is shown of a strange argument is harmless', async () => {
    const { stderr } = await box.salvage(['\x1b[2Jx\n\u202e']);
    assert.match(stderr, /^salvage: Cannot run "\\x1b\[2Jx\\n\\u202e": there is no such command\n/);
  });

  test('--json makes an error an object', async () => {
    const { code, stdout, stderr } = await box.salvage(['inspect', '--json', 'missing']);
    assert.deepEqual([code, stdout.length], [1, 0]);
    assert.deepEqual(JSON.parse(stderr), {
      error: { code: 'failed', message: 'Cannot read "missing": no such file or directory' },
    });
    const wrongUsage = await box.salvage(['inspect', '--json', '--nonsense']);
    assert.equal((JSON.parse(wrongUsage.stderr) as { error: { code: string } }).error.code, 'usage');
  });

  test('-v tells the cause', async () => {
    assert.match((await box.salvage(['inspect', '-v', 'missing'])).stderr, /\nbecause: ENOENT/);
  });
});

describe('nothing half-done', () => {
  const box = createSandbox({ after });
  const plaintext = Buffer.alloc(400_000, 'plaintext ');

  test('a file that is damaged late leaves no output, and an older output as it was', async () => {
    await box.shell('salvage keygen -q -o key; salvage keygen -y key > recipients');
    box.write('plain', plaintext);
    await box.shell('salvage encrypt -R recipients -o good.age plain');
    const sealed = box.read('good.age');
    for (const [name, damaged] of [
      ['cut', sealed.subarray(0, sealed.length - 70_000)],
      ['cut between chunks', sealed.subarray(0, sealed.length - ((sealed.length - 200) % 65_552))],
      ['flipped', flip(sealed, sealed.length - 1000)],
      ['followed by more', Buffer.concat([sealed, Buffer.from('x')])],
    ] as const) {
      box.write('bad.age', damaged);
      box.write('old', 'precious');
      for (const output of ['new', 'old']) {
        const { code, stderr } = await box.salvage(['decrypt', '-i', 'key', '-o', output, 'bad.age']);
        assert.equal(code, 13, `${name}: ${stderr}`);
      }
      assert.equal(box.read('old').toString(), 'precious', name);
      assert.deepEqual(readdirSync(box.folder).sort(), [
        '.home',
        'bad.age',
        'good.age',
        'key',
        'old',
        'plain',
        'recipients',
      ]);
      // Through a pipe what was good has gone already; it is the exit code that tells.
      const piped = await box.salvage(['decrypt', '-i', 'key'], { stdin: damaged });
      assert.equal(piped.code, 13);
      assert.ok(
        piped.stdout.length <= plaintext.length &&
          plaintext.subarray(0, piped.stdout.length).equals(piped.stdout),
      );
    }
  });

  test('an output that replaces a file keeps its permissions; a new one follows the umask', async () => {
    const { stdout } = await box.shell(`umask 027
      echo old > replaced; chmod 604 replaced
      salvage encrypt -R recipients -o replaced plain; salvage encrypt -R recipients -o fresh plain
      stat -c %a replaced fresh`);
    assert.equal(stdout.toString(), '604\n640\n');
  });

  test('devices and fifos are written in place', async () => {
    const { code, stdout, stderr } = await box.shell(`
      salvage encrypt -R recipients -o /dev/null plain; test -c /dev/null
      mkfifo fifo; cat fifo > through-fifo & salvage encrypt -R recipients -o fifo plain; wait
      salvage decrypt -i key through-fifo | cmp - plain
      salvage encrypt -R recipients -o /dev/stdout plain | salvage decrypt -i key | cmp - plain
      ls -A`);
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stdout.toString(), /partial/);
  });

  test('a full disk is an error and leaves nothing', async () => {
    const { code, stderr } = await box.salvage(['encrypt', '-R', 'recipients', '-o', '/dev/full', 'plain']);
    assert.equal(code, 1);
    assert.match(stderr, /no space left on device/i);
    assert.ok(statSync('/dev/full').isCharacterDevice());
  });

  test('a reader that goes away ends the run quietly', async () => {
    for (const stdin of ['', '< plain'])
      for (const command of [
        `salvage encrypt -R recipients ${stdin === '' ? 'plain' : stdin}`,
        'salvage encrypt --help',
      ]) {
        const { stdout, stderr } = await box.shell(
          `set +o pipefail; { code=0; ${command} || code=$?; echo "code $code" >&2; } | true`,
        );
        assert.equal(stdout.length, 0);
        assert.match(stderr, /^code [01]\n$/);
      }
  });

  test('SIGTERM and SIGINT while data is awaited end the run at once, and leave nothing', async () => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      const child = spawn(salvage, ['encrypt', '-R', 'recipients', '-o', 'must-not-exist'], {
        cwd: box.folder,
        stdio: ['pipe', 'ignore', 'pipe'],
      });
      child.stdin.on('error', () => {});
      child.stdin.write(plaintext);
      child.stdin.write(plaintext);
      while (!readdirSync(box.folder).some((name) => name.endsWith('.partial')))
        await new Promise((resolve) => setTimeout(resolve, 20));
      child.kill(signal);
      assert.deepEqual(await once(child, 'exit'), [null, signal]);
      assert.deepEqual(
        readdirSync(box.folder).filter((name) => /must-not|partial/.test(name)),
        [],
      );
    }
  });

  test('Ctrl-C is heard while a fifo has nobody at its other end', async () => {
    await box.shell('mkfifo input output; mkfifo identity');
    for (const args of [
      ['encrypt', '-R', 'recipients', 'input'],
      ['encrypt', '-R', 'recipients', '-o', 'output', 'plain'],
      ['decrypt', '-i', 'identity', 'good.age'],
    ]) {
      const child = spawn(salvage, args, { cwd: box.folder, stdio: 'ignore' });
      const ended = once(child, 'exit');
      // Signals before the program listens kill it, too: what is tested is that no moment swallows them.
      for (let tries = 0; child.exitCode === null && child.signalCode === null; tries++) {
        assert.ok(tries < 100, args.join(' '));
        await new Promise((resolve) => setTimeout(resolve, 300));
        child.kill('SIGINT');
      }
      assert.deepEqual(await ended, [null, 'SIGINT']);
    }
  });
});

function flip(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at]! ^= 1;
  return copy;
}
