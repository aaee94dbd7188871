import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { accessAcl, readXattrs, readXattrsAt, writeXattr } from './extended-attributes.ts';
import { errorCode } from './system-call-error.ts';

describe('extended attributes', () => {
  let folder = '';
  let path = '';
  let fd = -1;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'salvage-xattrs-'));
    path = join(folder, 'file');
    fd = openSync(path, 'w');
  });
  after(() => {
    closeSync(fd);
    rmSync(folder, { recursive: true, force: true });
  });

  it('are undefined where there are none', () => {
    assert.equal(readXattrs(fd), undefined);
    assert.equal(readXattrsAt(Buffer.from(path), false), undefined);
  });

  it('are read as setfattr and setfacl have set them, sorted by name', () => {
    execFileSync('setfattr', ['-n', 'user.b', '-v', '0x00ff', path]);
    execFileSync('setfattr', ['-n', 'user.a', path]);
    execFileSync('setfacl', ['-m', 'u:1:rw', path]);
    for (const found of [readXattrs(fd), readXattrsAt(Buffer.from(path), false)]) {
      assert.deepEqual([...found!.keys()], [accessAcl, 'user.a', 'user.b']);
      assert.deepEqual(found!.get('user.b'), Buffer.from([0, 255]));
      assert.equal(found!.get('user.a')!.length, 0);
    }
  });

  it('are written as getfattr reads them', () => {
    writeXattr(fd, 'user.written', Buffer.from('a value'));
    const text = execFileSync('getfattr', ['--only-values', '-n', 'user.written', path], {
      encoding: 'utf8',
    });
    assert.equal(text, 'a value');
  });

  it('of a symlink are not those of its target', () => {
    symlinkSync(path, join(folder, 'link'));
    assert.equal(readXattrsAt(Buffer.from(join(folder, 'link')), false), undefined);
    assert.ok(readXattrsAt(Buffer.from(join(folder, 'link')), true));
  });

  it('fail with the name of the reason', () => {
    assert.throws(
      () => readXattrs(-1),
      (error) => errorCode(error) === 'EBADF',
    );
    assert.throws(
      () => readXattrsAt(Buffer.from('/nothing'), false),
      (error) => errorCode(error) === 'ENOENT',
    );
    assert.throws(
      () => writeXattr(fd, 'nonsense', Buffer.alloc(1)),
      (error) => errorCode(error) === 'ENOTSUP',
    );
  });
});
