// What is on disk, read with stock tools only: sha256sum, ssh-keygen, age, zstd, Python.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { X25519Recipient } from '../../src/age/x25519.ts';
import type { FileEntry } from '../../src/posix/file-entry.ts';
import { readReadme, readRecoverScript } from '../../src/repository/recovery/recovery-files.ts';
import { LocalStorage } from '../../src/storage/local/local-storage.ts';
import { buildRepository, type TestFile } from '../support/build-repository.ts';
import { needsPeers } from '../support/peers.ts';

const isRoot = process.getuid?.() === 0;
const folder = mkdtempSync(join(tmpdir(), 'salvage-format-'));
const repo = join(folder, 'repo');
const identity = join(folder, 'key');
const signingKey = join(folder, 'signing');
const big = Buffer.concat([
  randomBytes(3_000_000),
  Buffer.alloc(2_000_000, 'salvage '),
  randomBytes(100_000),
]);
const sparse = randomBytes(70_000);
let snapshot = '';
let content: readonly TestFile[] = [];

function entry(path: string | Buffer, type: FileEntry['type'], more: Partial<FileEntry> = {}): FileEntry {
  return {
    path: Buffer.from(path),
    type,
    mode: 0o644,
    uid: process.getuid!(),
    gid: process.getgid!(),
    user: 'somebody',
    group: '',
    mtimeNs: 1_763_884_800_123_456_789n,
    size: 0,
    ...more,
  };
}

function file(path: string | Buffer, bytes: Uint8Array, more: Partial<FileEntry> = {}): TestFile {
  return { entry: entry(path, 'file', { size: bytes.length, ...more }), content: bytes };
}

function run(command: string, args: string[], input?: Uint8Array): Buffer {
  return execFileSync(command, args, {
    cwd: repo,
    input,
    maxBuffer: 1 << 28,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

function recover(target: string, ...more: string[]): { status: number | null; stderr: string } {
  return spawnSync('python3', ['recover.py', '--repo', '.', '-i', identity, '--target', target, ...more], {
    cwd: repo,
    encoding: 'utf8',
  });
}

before(async () => {
  execFileSync('age-keygen', ['-o', identity], { stdio: 'ignore' });
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', signingKey]);
  const recipient = execFileSync('age-keygen', ['-y', identity], { encoding: 'utf8' }).trim();
  writeFileSync(join(folder, 'allowed_signers'), `test-host ${readFileSync(`${signingKey}.pub`, 'utf8')}`);
  content = [
    { entry: entry('dir', 'directory', { mode: 0o550 }) },
    file('dir/big', big, { mode: 0o4755 }),
    file('dir/empty', new Uint8Array(0), { mtimeNs: -1_500_000_000n }),
    file('dir/inner/file', Buffer.from('in a directory that has no entry\n')),
    file('dir-x', Buffer.from('sorted behind what is in dir\n'), {
      mode: 0,
      xattrs: new Map([['user.salvage', Buffer.from([0, 255, 10])]]),
    }),
    { entry: entry('fifo', 'fifo', { mode: 0o600 }) },
    { entry: entry('hard', 'hardlink', { target: Buffer.from('dir/big') }) },
    ...(isRoot ? [{ entry: entry('null', 'character-device', { device: [1, 3] as const }) }] : []),
    {
      entry: entry('sparse', 'file', {
        size: 570_000,
        holes: [
          [0, 100_000],
          [130_000, 300_000],
          [470_000, 100_000],
        ],
      }),
      content: sparse,
    },
    { entry: entry('symlink', 'symlink', { mode: 0o777, target: Buffer.from('/nowhere/../else') }) },
    file(Buffer.from('zeichen-\u00e4\n"\\\u2028'), Buffer.from('a\n')),
    file(Buffer.from([0x7a, 0xff, 0xfe]), Buffer.from('b\n')),
  ];
  const storage = new LocalStorage(repo);
  await storage.create('README.txt', [readReadme()]);
  await storage.create('recover.py', [readRecoverScript()]);
  const built = await buildRepository(storage, [X25519Recipient.parse(recipient)], content);
  snapshot = built.snapshot;
  const sums = `snapshots/${snapshot}/SHA256SUMS`;
  run('ssh-keygen', ['-q', '-Y', 'sign', '-f', signingKey, '-n', 'salvage-snapshot', sums]);
});

after(() => {
  rmSync(folder, { recursive: true, force: true });
});

test('sha256sum and ssh-keygen accept a snapshot', needsPeers, () => {
  const sums = `snapshots/${snapshot}/SHA256SUMS`;
  run('sha256sum', ['-c', '--strict', '--quiet', sums]);
  const verify = [
    '-Y',
    'verify',
    '-f',
    join(folder, 'allowed_signers'),
    '-I',
    'test-host',
    '-n',
    'salvage-snapshot',
  ];
  run('ssh-keygen', [...verify, '-s', `${sums}.sig`], readFileSync(join(repo, sums)));
});

test('age and zstd open every pack and document', needsPeers, () => {
  const sums = readFileSync(join(repo, `snapshots/${snapshot}/SHA256SUMS`), 'utf8');
  const names = sums.split('\n').flatMap((line) => (line.endsWith('.age') ? [line.slice(66)] : []));
  assert.equal(names.length, 4);
  const raw = names.map((name) => run('zstd', ['-d', '-c'], run('age', ['-d', '-i', identity, name])));
  assert.ok(raw.some((bytes) => bytes.includes(big)));
  assert.ok(raw.some((bytes) => bytes.includes('"path":"dir/big"')));
});

test('recover.py restores everything byte for byte, with metadata', needsPeers, () => {
  const out = join(folder, 'out');
  const signers = ['--allowed-signers', join(folder, 'allowed_signers'), '--signer', 'test-host'];
  const { status, stderr } = recover(out, ...signers, 'latest');
  assert.equal(status, 0, stderr);
  for (const { entry, content: bytes } of content) {
    const path = Buffer.concat([Buffer.from(`${out}/`), entry.path]);
    const stat = lstatSync(path, { bigint: true });
    if (entry.type === 'hardlink') {
      assert.equal(stat.ino, lstatSync(join(out, 'dir/big'), { bigint: true }).ino);
      continue;
    }
    assert.equal(Number(stat.mode & 0o7777n), entry.mode, `mode of ${entry.path.toString()}`);
    assert.equal(stat.mtimeNs, entry.mtimeNs, `mtime of ${entry.path.toString()}`);
    assert.deepEqual([Number(stat.uid), Number(stat.gid)], [entry.uid, entry.gid]);
    if (entry.type === 'symlink') assert.equal(readlinkSync(path), entry.target!.toString());
    if (entry.type === 'fifo') assert.ok(stat.isFIFO());
    if (entry.type === 'character-device') assert.equal(stat.rdev, 0x103n);
    if (entry.type === 'file' && !entry.holes && (isRoot || entry.mode !== 0))
      assert.deepEqual(readFileSync(path), Buffer.from(bytes!));
  }
  const whole = Buffer.alloc(570_000);
  sparse.copy(whole, 100_000, 0, 30_000);
  sparse.copy(whole, 430_000, 30_000);
  assert.deepEqual(readFileSync(join(out, 'sparse')), whole);
  if (isRoot) {
    const value = run('getfattr', ['--only-values', '-n', 'user.salvage', join(out, 'dir-x')]);
    assert.deepEqual(value, Buffer.from([0, 255, 10]));
  }
  assert.deepEqual(
    readdirSync(out).length,
    new Set(content.map(({ entry }) => entry.path.toString('latin1').split('/')[0])).size,
  );
});

test('recover.py refuses a target in use, a wrong key and a snapshot without signature', needsPeers, () => {
  const used = mkdtempSync(join(folder, 'used-'));
  writeFileSync(join(used, 'file'), '');
  assert.match(recover(used, 'latest').stderr, /is not empty/);
  assert.match(
    recover(join(folder, 'x'), '00000009-20261123T101500Z-00000000').stderr,
    /there is no snapshot/,
  );
  const other = join(folder, 'other-key');
  execFileSync('age-keygen', ['-o', other], { stdio: 'ignore' });
  const wrong = ['recover.py', '--repo', '.', '-i', other, '--target', join(folder, 'y'), 'latest'];
  assert.equal(spawnSync('python3', wrong, { cwd: repo }).status, 1);
});

test('README.txt, followed to the letter, restores one file', needsPeers, () => {
  const shell = (line: string): Buffer => run('sh', ['-c', line]);
  const root = JSON.parse(shell(`age -d -i ${identity} snapshots/${snapshot}/root.age | zstd -d`).toString());
  const [number, offset, length, , first] = root.segments[0];
  assert.equal(Buffer.from(first, 'base64').toString(), 'dir');
  const fetch = (pack: string, offset: number, length: number): Buffer =>
    shell(
      `age -d -i ${identity} packs/${pack.slice(0, 2)}/${pack}.age | zstd -d > ../pack; ` +
        `tail -c +$((${offset} + 1)) ../pack | head -c ${length}`,
    );
  const lines = fetch(root.packs[number], offset, length).toString().split('\n');
  const { packs } = JSON.parse(lines[0]!);
  const { content: ranges } = JSON.parse(lines.find((line) => line.includes('"path":"dir/big"'))!);
  const found = ranges.map((range: [number, number, number]) => fetch(packs[range[0]], range[1], range[2]));
  assert.ok(found.length > 1);
  assert.deepEqual(Buffer.concat(found), big);
});

test('recover.py never leaves its target, whatever a tree says', needsPeers, async () => {
  const recipient = X25519Recipient.parse(
    execFileSync('age-keygen', ['-y', identity], { encoding: 'utf8' }).trim(),
  );
  for (const [index, files] of [
    [file('../escaped', Buffer.from('x'))],
    [file('/escaped', Buffer.from('x'))],
    [
      { entry: entry('link', 'symlink', { target: Buffer.from('..') }) },
      file('link/escaped', Buffer.from('x')),
    ],
    [{ entry: entry('hard', 'hardlink', { target: Buffer.from('../key') }) }],
  ].entries()) {
    const hostile = join(folder, `hostile-${index}`);
    const built = await buildRepository(new LocalStorage(hostile), [recipient], files);
    writeFileSync(join(hostile, `snapshots/${built.snapshot}/SHA256SUMS.sig`), 'not checked here');
    const out = join(folder, `hostile-out-${index}`, 'target');
    const script = ['recover.py', '--repo', hostile, '-i', identity, '--target', out, 'latest'];
    const { status } = spawnSync('python3', script, { cwd: repo });
    assert.equal(status, 3);
    assert.deepEqual(readdirSync(join(out, '..')), ['target']);
    assert.deepEqual(
      readdirSync(out).filter((name) => name !== 'link'),
      [],
    );
  }
});
