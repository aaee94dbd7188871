// Restoring and verifying with the real binary, as a user does it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createSandbox, salvage, type RunResult, type Sandbox } from '../support/cli.ts';
import { compareTrees } from '../support/compare-trees.ts';

const reading = ['--repo', 'repository', '-i', 'id', '--allowed-signers', 'allowed', '--signer', 'web-1'];
const checking = ['--repo', 'repository', '--allowed-signers', 'allowed', '--signer', 'web-1'];

function lines(result: RunResult): string[] {
  assert.equal(result.code, 0, result.stderr);
  return linesOf(result);
}

function linesOf({ stdout }: RunResult): string[] {
  return stdout.toString().trimEnd().split('\n');
}

/** With two snapshots: the second has another `etc/hosts`, and no `etc/old`. */
async function makeRepository(sandbox: Sandbox): Promise<void> {
  mkdirSync(sandbox.path('tree', 'etc', 'ssl'), { recursive: true });
  for (let number = 0; number < 400; number++)
    writeFileSync(sandbox.path('tree', `file${number}`), `content ${number} `.repeat(1000));
  sandbox.write('tree/etc/hosts', '127.0.0.1 localhost\n');
  sandbox.write('tree/etc/old', 'old\n');
  sandbox.write('tree/etc/ssl/cert.pem', 'certificate\n');
  const { code, stderr } = await sandbox.shell(`
    ssh-keygen -q -t ed25519 -N '' -f id
    salvage init --repo repository -R id.pub --name web-1 | grep ssh-ed25519 > allowed
    salvage backup -q --repo repository tree
    echo '::1 localhost' >> tree/etc/hosts
    rm tree/etc/old
    salvage backup -q --repo repository --tag second tree`);
  assert.equal(code, 0, stderr);
}

describe('reading a repository', () => {
  const sandbox = createSandbox({ after });
  before(async () => {
    await makeRepository(sandbox);
  });

  it('lists snapshots without a key, and more with one', async () => {
    const plain = lines(await sandbox.salvage(['snapshots', ...checking]));
    assert.match(plain[0]!, /^NUMBER {2}ID +TIME +SIZE +STORED +SIGNATURE$/);
    assert.match(plain[2]!, /^ +2 {2}00000002-.*good: web-1$/);
    assert.match(lines(await sandbox.salvage(['snapshots', ...reading]))[2]!, /web-1 +\/\S*tree +second$/);
    const [first] = lines(await sandbox.salvage(['snapshots', '--json', ...reading])).map(
      (line) => JSON.parse(line) as Record<string, unknown>,
    );
    assert.deepEqual(
      [first!['sequence'], first!['host'], first!['signature']],
      [
        1,
        'web-1',
        {
          state: 'trusted',
          principal: 'web-1',
          fingerprint: (first!['signature'] as { fingerprint: string }).fingerprint,
        },
      ],
    );
  });

  it('lists files, finds them in all snapshots, compares snapshots, prints one', async () => {
    assert.deepEqual(lines(await sandbox.salvage(['ls', '1', 'tree/etc', ...reading])), [
      'tree/etc/hosts',
      'tree/etc/old',
      'tree/etc/ssl/',
    ]);
    assert.deepEqual(lines(await sandbox.salvage(['ls', '1', '--recursive', 'tree/etc/ssl', ...reading])), [
      'tree/etc/ssl/cert.pem',
    ]);
    const found = lines(await sandbox.salvage(['find', 'hosts', 'old', 'cert.*', ...reading]));
    assert.deepEqual(
      found.map((line) => /(\S+) {2}(\[.*\])$/.exec(line)!.slice(1)),
      [
        ['tree/etc/hosts', '[1]'],
        ['tree/etc/hosts', '[2]'],
        ['tree/etc/old', '[1]'],
        ['tree/etc/ssl/cert.pem', '[1-2]'],
      ],
    );
    assert.deepEqual(lines(await sandbox.salvage(['diff', '1', '2', ...reading])), [
      'm tree/etc/',
      'M tree/etc/hosts',
      '- tree/etc/old',
    ]);
    await sandbox.shell('touch -r tree/etc stamp; echo new > tree/etc/new');
    assert.deepEqual(lines(await sandbox.salvage(['diff', '2', '--live', ...reading])), [
      'm tree/etc/',
      '+ tree/etc/new',
    ]);
    await sandbox.shell('rm tree/etc/new; touch -r stamp tree/etc');
    assert.deepEqual(lines(await sandbox.salvage(['cat', 'latest', '/tree/etc/hosts', ...reading])), [
      '127.0.0.1 localhost',
      '::1 localhost',
    ]);
  });

  it('says which snapshot, path or key is wrong, and with which exit code', async () => {
    const codes = async (...args: string[]): Promise<number> => (await sandbox.salvage(args)).code;
    assert.equal(await codes('cat', '7', 'x', ...reading), 2);
    assert.equal(await codes('cat', '1', 'nothing/there', ...reading), 2);
    assert.equal(await codes('restore', '1', 'nothing/there', '--target', 'out', ...reading), 2);
    assert.ok(!existsSync(sandbox.path('out')));
    assert.equal(await codes('snapshots', '--repo', 'nowhere'), 10);
    await sandbox.shell(`ssh-keygen -q -t ed25519 -N '' -f other`);
    const wrong = await sandbox.salvage([
      'restore',
      'latest',
      '--repo',
      'repository',
      '-i',
      'other',
      '--target',
      'out',
    ]);
    assert.equal(wrong.code, 12, wrong.stderr);
    const stranger = [...checking.slice(0, -1), 'stranger'];
    assert.equal(await codes('restore', 'latest', '--target', 'out', '-i', 'id', ...stranger), 13);
  });

  it('says plainly that it could not check the signature', async () => {
    const { code, stderr } = await sandbox.salvage([
      'restore',
      'latest',
      '--repo',
      'repository',
      '-i',
      'id',
      '--target',
      'unchecked',
    ]);
    assert.equal(code, 0);
    assert.match(stderr, /The signature of snapshot \S+ was not checked/);
  });

  it('prints a recovery kit that holds no secret', async () => {
    const text = lines(await sandbox.salvage(['recovery-kit', '--repo', 'repository'])).join('\n');
    assert.match(text, /python3 recover\.py --repo \. -i PRIVATE_KEY --target FOLDER latest/);
    assert.match(text, /ssh-ed25519 SHA256:/);
    assert.match(text, /web-1 namespaces="salvage-snapshot" ssh-ed25519 AAAA/);
    const html = lines(
      await sandbox.salvage(['recovery-kit', '--repo', 'repository', '--format', 'html']),
    ).join('\n');
    assert.match(html, /^<!doctype html>/);
    for (const page of [text, html]) assert.doesNotMatch(page, /SECRET-KEY|PRIVATE KEY-----/);
  });

  it('goes on after kill -9 with what was not there yet', async () => {
    const target = sandbox.path('killed');
    for (const delayMs of [150, 200, 250, 300]) {
      const child = spawn(salvage, ['restore', 'latest', '-q', ...reading, '--target', target], {
        cwd: sandbox.folder,
        stdio: 'ignore',
      });
      setTimeout(() => child.kill('SIGKILL'), delayMs);
      await once(child, 'exit');
    }
    const { code, stderr } = await sandbox.salvage(['restore', 'latest', ...reading, '--target', target]);
    assert.equal(code, 0, stderr);
    assert.deepEqual(compareTrees(sandbox.path('tree'), join(target, 'tree')), []);
    const again = await sandbox.salvage(['restore', 'latest', ...reading, '--target', target]);
    assert.match(again.stderr, /Restored 0 files .* 402 were right already/);
  });
});

describe('a repository that was tampered with', () => {
  it('is found out, restored as far as possible, and not taken for the latest', async (t) => {
    const sandbox = createSandbox(t);
    await makeRepository(sandbox);
    const clean = await sandbox.salvage(['verify', '--read-data', '--json', ...checking]);
    assert.equal(clean.code, 0, clean.stderr);
    const summary = JSON.parse(lines(clean).at(-1)!) as { event: string; clean: boolean };
    assert.deepEqual([summary.event, summary.clean], ['summary', true]);

    const snapshots = readdirSync(sandbox.path('repository', 'snapshots')).sort((a, b) => (a < b ? -1 : 1));
    rmSync(sandbox.path('repository', 'snapshots', snapshots[1]!), { recursive: true });
    const rollback = await sandbox.salvage(['verify', '--json', ...checking]);
    assert.match(rollback.stdout.toString(), /^\{"event":"trouble","kind":"rollback","message":"The newest/);
    assert.match(linesOf(rollback).at(-1)!, /^\{"event":"summary","clean":false/);
    assert.equal(rollback.code, 13);
    assert.match(rollback.stderr, /The newest snapshot is number 1, but number 2 .* was seen here before/);
    const latest = await sandbox.salvage(['restore', 'latest', '--target', 'out', ...reading]);
    assert.equal(latest.code, 13);
    assert.ok(!existsSync(sandbox.path('out')));
    assert.equal((await sandbox.salvage(['restore', snapshots[0]!, '--target', 'out', ...reading])).code, 0);

    const packs = readdirSync(sandbox.path('repository', 'packs'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.age'))
      .map((name) => sandbox.path('repository', 'packs', name));
    const size = (path: string): number => readFileSync(path).length;
    const largest = packs.reduce((a, b) => (size(a) >= size(b) ? a : b));
    truncateSync(largest, Math.floor(size(largest) / 2) + 1);
    const cut = await sandbox.salvage(['verify', '--read-data', ...checking]);
    assert.equal(cut.code, 13);
    assert.match(cut.stderr, /was cut short: \d+ bytes are left of it/);
    const partly = await sandbox.salvage(['restore', '1', '--json', '--target', 'partly', ...reading]);
    assert.equal(partly.code, 13);
    const events = linesOf(partly).map((line) => (JSON.parse(line) as { event: string }).event);
    assert.ok(events.includes('lost'), events.join(' '));
    assert.equal(events.at(-1), 'summary');
    assert.match(partly.stderr, /Cannot restore everything: \d+ entries are lost, each named above/);
  });
});
