import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { errorCode } from '../posix/system-call-error.ts';
import { SourceFile } from './source-file.ts';

describe('SourceFile', () => {
  let folder = '';
  let path = '';
  const file = new SourceFile();
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'salvage-source-file-'));
    path = join(folder, 'file');
    writeFileSync(path, 'content');
  });
  afterEach(() => {
    file.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('reads by position and says that nothing changed', () => {
    file.open(path);
    const bytes = Buffer.alloc(4);
    assert.equal(file.read(bytes, 0), 4);
    assert.equal(bytes.toString(), 'cont');
    assert.equal(file.read(bytes, 4), 3);
    assert.equal(file.read(bytes, 7), 0);
    assert.equal(file.changes(), undefined);
  });

  it('leaves the access time alone', () => {
    utimesSync(path, 1, 2);
    file.open(path);
    file.read(Buffer.alloc(10), 0);
    assert.equal(statSync(path).atimeMs, 1000);
  });

  const changes: [what: string, change: () => void, expected: RegExp][] = [
    ['growth', () => appendFileSync(path, 'more'), /grew from 7 to 11 bytes/],
    ['shrinking', () => truncateSync(path, 2), /shrank from 7 to 2 bytes/],
    ['writing that puts the time back', () => utimesSync(path, 5, 5), /changed while it was read/],
  ];
  for (const [what, change, expected] of changes)
    it(`notices ${what}`, () => {
      utimesSync(path, 5, 5);
      file.open(path);
      change();
      assert.match(file.changes() ?? '', expected);
    });

  const replacements: [what: string, replace: () => void, code: string][] = [
    ['a symlink', () => symlinkSync('/etc/passwd', path), 'ELOOP'],
    ['a fifo, without waiting for a writer', () => execFileSync('mkfifo', [path]), 'ESTALE'],
    ['another file', () => writeFileSync(path, 'other'), 'ESTALE'],
    ['nothing', () => undefined, 'ENOENT'],
  ];
  for (const [what, replace, code] of replacements)
    it(`refuses ${what} in its place`, () => {
      file.open(path);
      const known = { fileSystem: file.status.fileSystem, inode: file.status.inode };
      file.close();
      renameSync(path, join(folder, 'away'));
      replace();
      assert.throws(
        () => file.open(path, known),
        (error) => errorCode(error) === code,
      );
    });

  it('finds the holes of a sparse file', () => {
    execFileSync('sh', ['-c', 'truncate -s 1M "$1"; printf end >> "$1"', 'sh', join(folder, 'sparse')]);
    file.open(join(folder, 'sparse'));
    const holes = file.holes();
    assert.equal(holes.length, 1);
    assert.deepEqual(holes[0], [0, 1_048_576]);
  });

  it('reads extended attributes', () => {
    execFileSync('setfattr', ['-n', 'user.binary', '-v', '0x00ff', path]);
    file.open(path);
    assert.deepEqual(file.xattrs()?.get('user.binary'), Buffer.from([0, 255]));
  });
});
