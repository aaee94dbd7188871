// Whoever looks on while salvage works: at arguments and environments of all its processes, at everything it prints, logs,
// caches or leaves behind, also when it fails. The secrets are marked, and their marks are looked for everywhere.
import assert from 'node:assert/strict';
import { chmodSync, lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createSandbox, type RunOptions, type RunResult } from '../support/cli.ts';

describe('secrets in use', () => {
  const box = createSandbox({ after });
  /** What must not be seen, by what it is. */
  const secrets = new Map<string, string>();
  /** What may hold them: the files that the user made for it. */
  const vaults = new Set<string>();
  const outputs: string[] = [];
  const watched = new Map<string, string>();

  const keep = (name: string, data: string): void => {
    box.write(name, data, 0o600);
    vaults.add(box.path(name));
  };

  /** Runs salvage, and looks at it and everything that it starts for as long as it runs. */
  const run = async (args: readonly string[], options: RunOptions = {}): Promise<RunResult> => {
    const over = new AbortController();
    let watching = Promise.resolve();
    const result = await box.salvage(args, {
      ...options,
      onStart(child) {
        watching = (async () => {
          while (!over.signal.aborted) {
            for (const pid of descendants(child.pid!)) look(pid, args);
            await setTimeout(10);
          }
        })();
      },
    });
    over.abort();
    await watching;
    outputs.push(`${args.join(' ')}\n${result.stdout.toString('latin1')}\n${result.stderr}`);
    return result;
  };

  const look = (pid: number, args: readonly string[]): void => {
    for (const file of ['cmdline', 'environ']) {
      try {
        watched.set(
          `${file} of a process of "salvage ${args.join(' ')}"`,
          readFileSync(`/proc/${pid}/${file}`, 'latin1'),
        );
      } catch {
        // It has ended.
      }
    }
  };

  const ok = async (args: readonly string[], options?: RunOptions): Promise<RunResult> => {
    const result = await run(args, options);
    assert.equal(result.code, 0, result.stderr);
    return result;
  };

  before(async () => {
    const passphrase = 'Marked-Passphrase-4711';
    secrets.set('the passphrase', passphrase);
    secrets.set('a wrong passphrase', 'Marked-Mistake-0815');
    keep('passphrase', `${passphrase}\n`);
    keep('mistake', 'Marked-Mistake-0815\n');
    keep('credentials/backup', `${passphrase}\n`);
    const prepared = await box.shell(`mkdir src && echo content > src/file
      salvage keygen -o identity 2> public && salvage keygen -y identity > identity.pub
      ssh-keygen -q -t ed25519 -a 1 -N '${passphrase}' -f sshkey -C ''
      salvage encrypt -p --passphrase-file passphrase -o identity.age identity`);
    assert.equal(prepared.code, 0, prepared.stderr);
    vaults.add(box.path('identity'));
    secrets.set('the identity', /AGE-SECRET-KEY-\S+/.exec(box.read('identity').toString())![0]);
  });

  it('restores, seals, verifies and fails without showing any', async () => {
    const init = await ok([
      'init',
      '--repo',
      'repo',
      '-R',
      'identity.pub',
      '-R',
      'sshkey.pub',
      '--name',
      'host',
      '-v',
    ]);
    box.write('allowed', init.stdout);
    vaults.add(box.path('.home/.config/salvage/signing-key'));
    const [signing] = readFileSync(box.path('.home/.config/salvage/signing-key'), 'latin1')
      .split('\n')
      .slice(4);
    secrets.set('the signing key', signing!);
    const [configuration] = readdirSync(box.path('.home/.config/salvage/repositories'));
    const path = box.path('.home/.config/salvage/repositories', configuration!);
    vaults.add(path);
    const host = JSON.parse(readFileSync(path, 'utf8')) as { indexKey: string; chunkerSeed: string };
    secrets.set('the index key', host.indexKey);
    secrets.set('the chunker seed', host.chunkerSeed);

    const reading = ['--repo', 'repo', '--allowed-signers', 'allowed'];
    const given = ['-i', 'sshkey', '--passphrase-command', 'cat passphrase'];
    await ok(['backup', '-v', '--repo', 'repo', 'src', '--json']);
    await ok(['restore', '-v', ...reading, ...given, '--target', 'out', 'latest', '--json']);
    await ok(['ls', ...reading, '-i', 'identity', 'latest']);
    await ok(['verify', '-v', ...reading, '-i', 'identity.age', '--passphrase-file', 'passphrase', '--json']);
    await ok(
      ['drill', ...reading, '-i', 'sshkey', '--passphrase-credential', 'backup', '--check', 'ls', '--json'],
      {
        env: { CREDENTIALS_DIRECTORY: box.path('credentials') },
      },
    );
    vaults.add(box.path('.home/.config/salvage/restorer-key'));
    await ok(['encrypt', '-p', '--passphrase-file', 'passphrase', '-o', 'file.age', 'src/file']);
    await ok(['seal', 'src', '-R', 'identity.pub', '-o', 'archive.age']);
    await ok(['recipients', 'list', '--repo', 'repo', '--json']);
    await ok(['recipients', 'rewrap', ...reading, '-i', 'identity', '--json']);
    await ok(['recovery-kit', '--repo', 'repo']);

    // Failures, of which messages tell, and which leave things behind.
    const failures = [
      ['restore', ...reading, '-i', 'sshkey', '--passphrase-file', 'mistake', '--target', 'out2', 'latest'],
      [
        'restore',
        ...reading,
        '-i',
        'identity.age',
        '--passphrase-command',
        'cat mistake; exit 3',
        '--target',
        'out2',
        'latest',
      ],
      ['restore', ...reading, '-i', 'passphrase', '--target', 'out2', 'latest'],
      ['encrypt', '-R', 'identity', 'src/file'],
      ['backup', '--repo', 'nowhere', 'src'],
    ];
    for (const args of failures) assert.notEqual((await run(args)).code, 0, args.join(' '));
    const whole = readFileSync(path, 'utf8');
    writeFileSync(path, whole.replace('"format"', '"formal"'));
    assert.equal((await run(['backup', '--repo', 'repo', 'src'])).code, 2);
    writeFileSync(path, whole);
  });

  it('refuses keys that others may read, with the command that mends it', async () => {
    for (const key of ['identity', 'sshkey']) {
      chmodSync(box.path(key), 0o644);
      const refused = await run([
        'ls',
        '--repo',
        'repo',
        '-i',
        key,
        '--passphrase-file',
        'passphrase',
        'latest',
      ]);
      assert.equal(refused.code, 1, refused.stderr);
      assert.match(refused.stderr, /its mode 0644 lets others at it/);
      assert.match(refused.stderr, new RegExp(`chmod 600 "${key}"`));
      chmodSync(box.path(key), 0o600);
    }
    const away = await run([
      'ls',
      '--repo',
      'repo',
      '-i',
      'sshkey',
      '--passphrase-credential',
      'backup',
      'latest',
    ]);
    assert.equal(away.code, 2);
    assert.match(away.stderr, /no service manager has given this process any/);
    const outside = await run(
      ['ls', '--repo', 'repo', '-i', 'sshkey', '--passphrase-credential', '../passphrase', 'latest'],
      {
        env: { CREDENTIALS_DIRECTORY: box.path('credentials') },
      },
    );
    assert.equal(outside.code, 2);
  });

  it('are nowhere to be found', () => {
    assert.ok(watched.size > 20);
    const found: string[] = [];
    const search = (where: string, text: string): void => {
      for (const [what, secret] of secrets) if (text.includes(secret)) found.push(`${what} in ${where}`);
    };
    for (const [where, text] of watched) search(where, text);
    for (const output of outputs) search(`the output of ${output.split('\n')[0]}`, output);
    let files = 0;
    for (const path of filesBelow(box.folder)) {
      files++;
      if (!vaults.has(path)) search(path, readFileSync(path, 'latin1'));
    }
    assert.ok(files > 30);
    assert.equal(found.join('\n'), '');
    // The search finds what is there: each secret is where its owner has put it.
    for (const vault of vaults) search(vault, readFileSync(vault, 'latin1'));
    for (const what of secrets.keys())
      assert.ok(
        found.some((line) => line.startsWith(`${what} in`)),
        what,
      );
  });
});

function descendants(pid: number): number[] {
  const found = [pid];
  for (const parent of found) {
    try {
      for (const thread of readdirSync(`/proc/${parent}/task`))
        found.push(
          ...readFileSync(`/proc/${parent}/task/${thread}/children`, 'latin1')
            .split(' ')
            .filter(Boolean)
            .map(Number),
        );
    } catch {
      // It has ended.
    }
  }
  return found;
}

function* filesBelow(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else if (lstatSync(path).isFile()) yield path;
  }
}
