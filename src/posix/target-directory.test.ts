import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { SalvageError } from '../errors/salvage-error.ts';
import type { FileEntry } from './file-entry.ts';
import { TargetDirectory } from './target-directory.ts';
import type { Overwrite, TargetOptions } from './target-directory.ts';

const isRoot = process.getuid?.() === 0;
const mtimeNs = 1_500_000_000_123_456_789n;

function entry(path: string, more: Partial<FileEntry> = {}): FileEntry {
  return {
    path: Buffer.from(path),
    type: 'file',
    mode: 0o644,
    uid: process.getuid!(),
    gid: process.getgid!(),
    user: '',
    group: '',
    mtimeNs,
    size: 0,
    ...more,
  };
}

function directory(path: string, more: Partial<FileEntry> = {}): FileEntry {
  return entry(path, { type: 'directory', mode: 0o755, ...more });
}

describe('TargetDirectory', () => {
  let root = '';
  let problems: string[] = [];
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'salvage-target-'));
    problems = [];
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  function open(options: Partial<TargetOptions> = {}): TargetDirectory {
    return TargetDirectory.open(root, {
      overwrite: 'never',
      onProblem: ({ path, what, message }) => problems.push(`${path.toString()} ${what}: ${message}`),
      ...options,
    });
  }
  const timeOf = (path: string): bigint => statSync(join(root, path), { bigint: true }).mtimeNs;
  const modeOf = (path: string): number => statSync(join(root, path)).mode & 0o7777;

  it('gives directories their time when the entries leave them, whatever comes later', () => {
    const target = open();
    target.make(directory('.', { mtimeNs: 7n }));
    target.make(directory('a', { mode: 0o555 }));
    target.writeFile(entry('a/x'), Buffer.from('x'));
    target.make(directory('b'));
    assert.equal(timeOf('a'), mtimeNs);
    assert.equal(modeOf('a'), 0o555);
    assert.equal(modeOf('b'), 0o700, 'open to us alone while it waits');
    target.close();
    assert.equal(timeOf('b'), mtimeNs);
    assert.equal(timeOf('.'), 7n);
    assert.deepEqual(problems, []);
  });

  it('keeps the times of directories for entries in any order', () => {
    const target = open();
    target.writeFile(entry('late/x'), Buffer.alloc(0));
    target.make(directory('a'));
    target.make(directory('a/b'));
    target.make(directory('c'));
    target.writeFile(entry('a/b/back'), Buffer.alloc(0));
    target.writeFile(entry('a/back'), Buffer.alloc(0));
    target.make(directory('late'));
    target.writeFile(entry('c/x'), Buffer.alloc(0));
    target.close();
    for (const path of ['a', 'a/b', 'c', 'late']) assert.equal(timeOf(path), mtimeNs, path);
  });

  it('leaves the settling to the caller who writes with several workers', () => {
    const first = open({ settle: 'by-caller' });
    const second = open({ settle: 'by-caller', madeSinceNs: first.madeSinceNs });
    const directories = [directory('a'), directory('a/b', { mode: 0o500 }), directory('c')];
    for (const one of directories) first.make(one);
    second.writeFile(entry('a/b/x'), Buffer.from('1'));
    first.writeFile(entry('c/y'), Buffer.from('2'));
    second.make(entry('a/link', { type: 'hardlink', target: Buffer.from('c/y') }));
    second.close();
    assert.equal(modeOf('a/b'), 0o700);
    for (const one of directories) first.settleDirectory(one);
    first.close();
    for (const path of ['a', 'a/b', 'c']) assert.equal(timeOf(path), mtimeNs, path);
    assert.equal(modeOf('a/b'), 0o500);
    assert.equal(statSync(join(root, 'c/y')).nlink, 2);
  });

  it('remembers more directories than it keeps open', () => {
    const target = open({ settle: 'by-caller' });
    for (let round = 0; round < 2; round++)
      for (let index = 0; index < 300; index++)
        target.writeFile(entry(`d${index}/x${round}`), Buffer.from('x'));
    target.close();
    assert.equal(readdirSync(root).length, 300);
    assert.deepEqual(readdirSync(join(root, 'd299')), ['x0', 'x1']);
  });

  const policies: [Overwrite, same: string, older: string, newer: string][] = [
    ['never', 'kept', 'kept', 'kept'],
    ['if-newer', 'kept', 'replaced', 'kept'],
    ['if-different', 'kept', 'replaced', 'replaced'],
    ['always', 'replaced', 'replaced', 'replaced'],
  ];
  for (const [overwrite, same, older, newer] of policies)
    it(`${overwrite}: the same file ${same}, an older one ${older}, a newer one ${newer}`, () => {
      const before = open();
      before.writeFile(entry('same', { size: 3 }), Buffer.from('old'));
      before.writeFile(entry('older', { size: 3, mtimeNs: mtimeNs - 1n }), Buffer.from('old'));
      before.writeFile(entry('newer', { size: 3, mtimeNs: mtimeNs + 1n }), Buffer.from('old'));
      before.close();
      const target = open({ overwrite });
      for (const [name, expected] of [
        ['same', same],
        ['older', older],
        ['newer', newer],
      ] as const) {
        assert.equal(target.writeFile(entry(name, { size: 3 }), Buffer.from('new')), expected, name);
        assert.equal(readFileSync(join(root, name), 'utf8'), expected === 'kept' ? 'old' : 'new');
      }
      target.close();
      assert.deepEqual(readdirSync(root).sort(), ['newer', 'older', 'same']);
    });

  it('lets the later entry of one run win, under any policy', () => {
    const target = open({ overwrite: 'never' });
    target.writeFile(entry('file'), Buffer.from('first'));
    assert.equal(target.writeFile(entry('file'), Buffer.from('second')), 'replaced');
    target.close();
    assert.equal(readFileSync(join(root, 'file'), 'utf8'), 'second');
  });

  it('replaces what a killed run left unfinished, under any policy', () => {
    for (const overwrite of ['never', 'if-newer', 'if-different', 'always'] as const) {
      const killed = open();
      const file = killed.createFile(entry('file', { size: 4 }))!;
      file.write(Buffer.from('ha'), 0);
      file.suspend();
      killed.close();
      const target = open({ overwrite });
      assert.equal(target.writeFile(entry('file', { size: 4 }), Buffer.from('half')), 'replaced');
      target.close();
      assert.equal(readFileSync(join(root, 'file'), 'utf8'), 'half');
      rmSync(join(root, 'file'));
    }
  });

  it('corrects mode and owner of a file whose content is right', () => {
    const before = open();
    before.writeFile(entry('file', { size: 3, mode: 0o600 }), Buffer.from('old'));
    before.close();
    const inode = statSync(join(root, 'file')).ino;
    if (isRoot) chownSync(join(root, 'file'), 1, 1);
    const target = open({ overwrite: 'if-different' });
    assert.equal(target.writeFile(entry('file', { size: 3, mode: 0o640 }), Buffer.from('new')), 'kept');
    target.close();
    assert.equal(statSync(join(root, 'file')).ino, inode);
    assert.equal(statSync(join(root, 'file')).uid, process.getuid!());
    assert.equal(modeOf('file'), 0o640);
    assert.equal(timeOf('file'), mtimeNs);
  });

  it('keeps what a failed replacement was to replace, and removes a failed new file', () => {
    writeFileSync(join(root, 'file'), 'precious');
    const target = open({ overwrite: 'always' });
    target.createFile(entry('file', { size: 10 }))!.abandon();
    target.createFile(entry('new', { size: 10 }))!.abandon();
    target.close();
    assert.deepEqual(readdirSync(root), ['file']);
    assert.equal(readFileSync(join(root, 'file'), 'utf8'), 'precious');
  });

  it('takes up a suspended file in another worker', () => {
    const first = open();
    const file = first.createFile(entry('deep/file', { size: 8 }))!;
    file.write(Buffer.from('half'), 4);
    const suspended = structuredClone(file.suspend());
    const second = open({ madeSinceNs: first.madeSinceNs });
    const again = second.resumeFile(entry('deep/file', { size: 8 }), suspended);
    again.write(Buffer.from('full'), 0);
    again.finish();
    second.close();
    first.close();
    assert.equal(readFileSync(join(root, 'deep/file'), 'utf8'), 'fullhalf');
    assert.equal(timeOf('deep/file'), mtimeNs);
  });

  it('makes a file of its full size if its end is a hole', () => {
    const target = open();
    const file = target.createFile(entry('file', { size: 1_000_000 }))!;
    file.write(Buffer.from('start'), 0);
    file.finish();
    target.writeFile(entry('small', { size: 100_000, holes: [[0, 100_000]] }), Buffer.alloc(100_000));
    target.close();
    assert.equal(statSync(join(root, 'file')).size, 1_000_000);
    assert.ok(statSync(join(root, 'file')).blocks * 512 < 100_000);
    assert.equal(statSync(join(root, 'small')).size, 100_000);
    assert.ok(statSync(join(root, 'small')).blocks * 512 < 50_000);
  });

  it('replaces an empty directory by a file if it may, and never a full one', () => {
    mkdirSync(join(root, 'empty'));
    mkdirSync(join(root, 'full'));
    writeFileSync(join(root, 'full/x'), '');
    const careful = open({ overwrite: 'never' });
    assert.equal(careful.writeFile(entry('empty'), Buffer.alloc(0)), 'kept');
    careful.close();
    const target = open({ overwrite: 'always' });
    assert.equal(target.writeFile(entry('empty'), Buffer.alloc(0)), 'replaced');
    assert.throws(() => target.writeFile(entry('full'), Buffer.alloc(0)), SalvageError);
    target.close();
    assert.ok(statSync(join(root, 'full/x')).isFile());
  });

  it('leaves mode and time of existing directories alone under never', () => {
    mkdirSync(join(root, 'there'), { mode: 0o711 });
    utimesSync(join(root, 'there'), 1, 1);
    const target = open({ overwrite: 'never' });
    assert.equal(target.make(directory('there')), 'kept');
    target.close();
    assert.equal(modeOf('there'), 0o711);
    assert.equal(timeOf('there'), 1_000_000_000n);
  });

  it('inherits neither group nor ACL from an existing directory', () => {
    chmodSync(root, 0o2777);
    if (isRoot) chownSync(root, 0, 3);
    execFileSync('setfacl', ['-d', '-m', 'u:1:rwx', root]);
    const target = open();
    target.make(directory('made', { mode: 0o700 }));
    target.writeFile(entry('made/file', { mode: 0o600 }), Buffer.alloc(0));
    target.writeFile(entry('beside', { mode: 0o600 }), Buffer.alloc(0));
    target.close();
    for (const path of ['made', 'made/file', 'beside']) {
      assert.equal(modeOf(path), path === 'made' ? 0o700 : 0o600);
      assert.equal(statSync(join(root, path)).gid, process.getgid!());
      const acl = execFileSync('getfacl', ['-s', join(root, path)], { encoding: 'utf8' });
      assert.equal(acl, '', 'no more than the mode says');
    }
  });

  it('writes before 1970 and at the edge of a second', () => {
    const target = open();
    for (const time of [-1n, -1_000_000_000n, -1_000_000_001n, 0n, 999_999_999n, 1_000_000_000n]) {
      target.writeFile(entry(`t${time}`, { mtimeNs: time }), Buffer.alloc(0));
      assert.equal(timeOf(`t${time}`), time);
    }
    target.close();
  });

  it(
    'takes owners by name first, by number if the name is unknown or it is told to',
    { skip: !isRoot && 'root' },
    () => {
      const target = open();
      target.writeFile(entry('named', { uid: 77, gid: 77, user: 'root', group: 'root' }), Buffer.alloc(0));
      target.writeFile(entry('unknown', { uid: 77, gid: 78, user: 'no-such-user' }), Buffer.alloc(0));
      target.close();
      const numeric = open({ numericIds: true });
      numeric.writeFile(entry('numeric', { uid: 77, gid: 78, user: 'root', group: 'root' }), Buffer.alloc(0));
      numeric.close();
      const ownerOf = (path: string): number[] => [
        statSync(join(root, path)).uid,
        statSync(join(root, path)).gid,
      ];
      assert.deepEqual(ownerOf('named'), [0, 0]);
      assert.deepEqual(ownerOf('unknown'), [77, 78]);
      assert.deepEqual(ownerOf('numeric'), [77, 78]);
    },
  );

  it('restores without privileges: own files, no owners, no setuid, attributes of what is read-only', () => {
    chmodSync(root, 0o777);
    if (isRoot) process.setegid!(65_534);
    if (isRoot) process.seteuid!(65_534);
    try {
      const entries = [
        directory('a', { mode: 0o555 }),
        entry('a/file', { mode: 0o4444, uid: 0, gid: 0, xattrs: new Map([['user.x', Buffer.from('y')]]) }),
        directory('b', { mode: 0o000 }),
      ];
      for (const overwrite of ['never', 'if-different'] as const) {
        const target = open({ overwrite });
        const outcomes = entries.map((one) =>
          one.type === 'file' ? target.writeFile(one, Buffer.alloc(0)) : target.make(one),
        );
        target.close();
        assert.deepEqual(new Set(outcomes), new Set([overwrite === 'never' ? 'made' : 'kept']));
      }
    } finally {
      if (isRoot) process.seteuid!(0);
      if (isRoot) process.setegid!(0);
    }
    assert.deepEqual(problems, []);
    assert.equal(modeOf('a/file'), 0o444);
    assert.equal(modeOf('a'), 0o555);
    assert.equal(modeOf('b'), 0);
    if (isRoot) assert.equal(statSync(join(root, 'a/file')).uid, 65_534);
  });

  it('reports what it cannot set, and goes on', () => {
    const target = open();
    const xattrs = new Map([['nonsense', Buffer.from('x')]]);
    assert.equal(target.writeFile(entry('file', { xattrs }), Buffer.from('x')), 'made');
    target.close();
    assert.match(problems.join(), /^file extended attribute nonsense: the file system does not support it$/);
    assert.equal(timeOf('file'), mtimeNs);
  });

  it('names the root that it cannot open', () => {
    writeFileSync(join(root, 'file'), '');
    symlinkSync('nowhere', join(root, 'dangling'));
    for (const name of ['file', 'file/below', 'dangling'])
      assert.throws(
        () => TargetDirectory.open(join(root, name), { overwrite: 'never', onProblem: () => undefined }),
        (error) => error instanceof SalvageError && error.message.includes(name),
      );
  });
});
