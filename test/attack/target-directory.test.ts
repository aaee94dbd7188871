import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import type { FileEntry } from '../../src/posix/file-entry.ts';
import { TargetDirectory } from '../../src/posix/target-directory.ts';
import type { TargetOptions } from '../../src/posix/target-directory.ts';
import { needsPeers } from '../support/peers.ts';

/** The race is run until both sides have won, which takes a few rounds, or on a busy machine more. */
const mostRounds = 50_000;
const isRoot = process.getuid?.() === 0;

function entry(path: string | Buffer, more: Partial<FileEntry> = {}): FileEntry {
  return {
    path: Buffer.from(path),
    type: 'file',
    mode: 0o644,
    uid: process.getuid!(),
    gid: process.getgid!(),
    user: '',
    group: '',
    mtimeNs: 1_500_000_000_123_456_789n,
    size: 0,
    ...more,
  };
}

const symlink = (path: string, target: string): FileEntry =>
  entry(path, { type: 'symlink', target: Buffer.from(target), mode: 0o777 });
const hardlink = (path: string, target: string): FileEntry =>
  entry(path, { type: 'hardlink', target: Buffer.from(target) });
const directory = (path: string): FileEntry => entry(path, { type: 'directory', mode: 0o755 });

describe('a hostile archive and a hostile neighbour, against TargetDirectory', () => {
  let folder = '';
  let root = '';
  let outside = '';
  let target: TargetDirectory | undefined;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'salvage-attack-'));
    root = join(folder, 'root');
    outside = join(folder, 'outside');
    mkdirSync(root);
    mkdirSync(outside);
    writeFileSync(join(outside, 'secret'), 'untouched', { mode: 0o600 });
  });
  afterEach(() => {
    target?.close();
    target = undefined;
    assert.deepEqual(readdirSync(outside), ['secret']);
    assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'untouched');
    assert.equal(statSync(join(outside, 'secret')).mode & 0o7777, 0o600);
    assert.deepEqual(readdirSync(folder).sort(), ['outside', 'root']);
    rmSync(folder, { recursive: true, force: true });
  });

  function open(options: Partial<TargetOptions> = {}): TargetDirectory {
    target = TargetDirectory.open(root, { overwrite: 'always', onProblem: () => undefined, ...options });
    return target;
  }

  const isRefused = (code: string) => (error: unknown) =>
    error instanceof SalvageError && error.code === code;

  const leavingPaths: [string, string | Buffer][] = [
    ['a parent directory', '../escaped'],
    ['a parent directory inside', 'a/../../escaped'],
    ['a parent directory at the end', 'a/..'],
    ['the directory itself inside', 'a/./b'],
    ['an absolute path', '/tmp/escaped'],
    ['two slashes', 'a//b'],
    ['a slash at the end', 'a/'],
    ['no name', ''],
    ['a NUL that cuts the name short', 'good\0/../../escaped'],
    ['a name of 256 bytes', 'n'.repeat(256)],
    ['a path of 65,536 bytes', 'a/'.repeat(32_767) + 'bb'],
  ];
  for (const [what, path] of leavingPaths)
    it(`refuses ${what}`, () => {
      const target = open();
      assert.throws(() => target.writeFile(entry(path), Buffer.from('x')), isRefused('damaged'));
      assert.throws(() => target.make(directory(path.toString())), isRefused('damaged'));
      assert.throws(() => target.make(symlink(path.toString(), 'x')), isRefused('damaged'));
      target.make(directory('fine'));
      target.writeFile(entry('fine/first'), Buffer.alloc(0));
      assert.throws(() => target.make(hardlink('fine/link', path.toString())), isRefused('damaged'));
    });

  it('does not write through a symlink that the archive made', () => {
    const target = open();
    target.make(symlink('link', outside));
    assert.throws(() => target.writeFile(entry('link/escaped'), Buffer.from('x')), isRefused('failed'));
    assert.throws(() => target.make(directory('link/escaped')), isRefused('failed'));
    assert.throws(() => target.make(symlink('link/escaped', 'x')), isRefused('failed'));
  });

  it('does not write through a symlink to a file, but replaces it', () => {
    const target = open();
    target.make(symlink('link', join(outside, 'secret')));
    assert.equal(target.writeFile(entry('link'), Buffer.from('new')), 'replaced');
    assert.ok(lstatSync(join(root, 'link')).isFile());
    assert.equal(readFileSync(join(root, 'link'), 'utf8'), 'new');
  });

  it('does not settle a directory through a symlink that took its place', () => {
    const target = open();
    target.make(directory('d'));
    rmSync(join(root, 'd'), { recursive: true });
    symlinkSync(outside, join(root, 'd'));
    const before = statSync(outside).mtimeMs;
    target.writeFile(entry('later'), Buffer.alloc(0));
    assert.equal(statSync(outside).mtimeMs, before);
  });

  it('does not follow a symlink that was planted before', () => {
    symlinkSync(outside, join(root, 'planted'));
    symlinkSync(join(outside, 'secret'), join(root, 'file'));
    for (const overwrite of ['never', 'if-newer', 'if-different'] as const) {
      const target = open({ overwrite });
      assert.throws(() => target.writeFile(entry('planted/x'), Buffer.from('x')), isRefused('failed'));
      target.writeFile(entry('file', { size: 3 }), Buffer.from('new'));
      target.close();
    }
    target = undefined;
  });

  it('puts a directory in the place of a planted symlink if it may', () => {
    symlinkSync(outside, join(root, 'd'));
    const target = open();
    assert.equal(target.make(directory('d')), 'replaced');
    target.writeFile(entry('d/file'), Buffer.alloc(0));
    assert.deepEqual(readdirSync(join(root, 'd')), ['file']);
  });

  it('links only to what it made: not to what was there, nor through a symlink to a directory', () => {
    linkSync(join(outside, 'secret'), join(root, 'planted'));
    symlinkSync(outside, join(root, 'way'));
    const target = open();
    assert.throws(() => target.make(hardlink('mine', 'planted')), isRefused('failed'));
    assert.throws(() => target.make(hardlink('mine', 'way/secret')), isRefused('failed'));
    assert.throws(() => target.make(hardlink('mine', 'nothing')), isRefused('failed'));
    assert.throws(() => target.make(hardlink('mine', join(outside, 'secret'))), isRefused('damaged'));
    assert.equal(existsSync(join(root, 'mine')), false);
    target.make(symlink('symlink', join(outside, 'secret')));
    target.make(hardlink('to-the-symlink', 'symlink'));
    assert.ok(lstatSync(join(root, 'to-the-symlink')).isSymbolicLink());
    target.make(directory('directory'));
    assert.throws(() => target.make(hardlink('mine', 'directory')), isRefused('failed'));
  });

  it('never writes into or changes the mode of a file with a name outside', () => {
    const secret = join(outside, 'secret');
    const { size, mtimeNs } = statSync(secret, { bigint: true });
    for (const overwrite of ['always', 'if-different', 'if-newer'] as const) {
      linkSync(secret, join(root, 'same'));
      const target = open({ overwrite });
      target.writeFile(
        entry('same', {
          size: Number(size),
          mtimeNs: mtimeNs + (overwrite === 'if-newer' ? 1n : 0n),
          mode: 0o666,
        }),
        Buffer.from('new text!'),
      );
      assert.notEqual(statSync(join(root, 'same')).ino, statSync(secret).ino);
      target.close();
      rmSync(join(root, 'same'));
    }
    target = undefined;
  });

  it('makes no device unless allowed, and none with odd numbers', () => {
    const device = entry('device', { type: 'character-device', device: [1, 5] });
    assert.throws(() => open().make(device), isRefused('failed'));
    assert.equal(existsSync(join(root, 'device')), false);
    const allowed = open({ allowDevices: true });
    for (const numbers of [
      [-1, 0],
      [1, 2 ** 33],
      [0.5, 1],
      [4096, 0],
    ] as const)
      assert.throws(() => allowed.make({ ...device, device: numbers }), isRefused('damaged'));
    if (isRoot) assert.equal(allowed.make(device), 'made');
  });

  it('strips setuid and setgid unless told to keep them, and for a wrong owner', () => {
    const target = open({ keepSetIds: false });
    target.writeFile(entry('file', { mode: 0o6755 }), Buffer.alloc(0));
    assert.equal(statSync(join(root, 'file')).mode & 0o7777, 0o755);
    target.make(entry('directory', { type: 'directory', mode: 0o2755 }));
    target.close();
    assert.equal(statSync(join(root, 'directory')).mode & 0o7777, 0o755);
    const keeping = open({ keepSetIds: true });
    keeping.writeFile(entry('kept', { mode: 0o4755 }), Buffer.alloc(0));
    assert.equal(statSync(join(root, 'kept')).mode & 0o7777, 0o4755);
  });

  it('shows a file to nobody before it is complete', () => {
    const target = open();
    const file = target.createFile(entry('file', { size: 4, mode: 0o644 }))!;
    file.write(Buffer.from('hal'), 0);
    assert.equal(statSync(join(root, 'file')).mode & 0o7777, 0o1600);
    file.abandon();
    assert.deepEqual(readdirSync(root), []);
  });

  it('takes up no suspended file that something else has replaced', () => {
    const target = open();
    const suspended = target.createFile(entry('file', { size: 4 }))!.suspend();
    rmSync(join(root, 'file'));
    linkSync(join(outside, 'secret'), join(root, 'file'));
    assert.throws(() => target.resumeFile(entry('file', { size: 4 }), suspended), isRefused('failed'));
    rmSync(join(root, 'file'));
    symlinkSync(join(outside, 'secret'), join(root, 'file'));
    assert.throws(() => target.resumeFile(entry('file', { size: 4 }), suspended), isRefused('failed'));
  });

  it('refuses a symlink without target and one with a NUL', () => {
    const target = open();
    assert.throws(() => target.make(symlink('a', '')), isRefused('damaged'));
    assert.throws(() => target.make(symlink('a', 'x\0y')), isRefused('damaged'));
    assert.throws(() => target.make(symlink('a', 'x'.repeat(5000))), isRefused('failed'));
  });

  it('writes nothing outside while a neighbour swaps directories for symlinks', needsPeers, async () => {
    // A neighbour who may write in the target exchanges a directory and a symlink to outside as fast as it can.
    mkdirSync(join(root, 'swapped'));
    symlinkSync(outside, join(root, 'symlink'));
    const swapper = spawn(
      'python3',
      [
        '-c',
        `
import ctypes, os, sys
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
print('ready', flush=True)
while True:
    libc.syscall(${process.arch === 'arm64' ? 276 : 316}, -100, b'swapped', -100, b'symlink', 2)
`,
        root,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      await new Promise((resolve) => {
        swapper.stdout.once('data', resolve);
      });
      const written = { swapped: 0, refused: 0 };
      const { madeSinceNs } = open();
      for (let round = 0; round < mostRounds; round++) {
        if (round >= 400 && written.swapped > 0 && written.refused > 0) break;
        // A new one each time, so that no open directory is remembered.
        const target = TargetDirectory.open(root, {
          overwrite: 'never',
          onProblem: () => undefined,
          madeSinceNs,
        });
        for (const make of [
          () => target.writeFile(entry(`swapped/f${round}`, { mode: 0o777 }), Buffer.from('x')),
          () => target.make(directory(`swapped/d${round}`)),
          () => target.make(symlink(`swapped/l${round}`, 'x')),
          () => target.make(hardlink(`swapped/h${round}`, 'swapped/secret')),
        ])
          try {
            make();
            written.swapped++;
          } catch (error) {
            assert.ok(error instanceof SalvageError, String(error));
            written.refused++;
          }
        target.close();
      }
      assert.ok(
        written.swapped > 0 && written.refused > 0,
        `both sides of the race were met: ${JSON.stringify(written)}`,
      );
    } finally {
      swapper.kill('SIGKILL');
      await new Promise((resolve) => {
        swapper.once('exit', resolve);
      });
    }
  });
});
