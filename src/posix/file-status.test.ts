import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { describe, it } from 'node:test';
import { FileStatus, readStatus } from './file-status.ts';
import { NameBuffer } from './name-buffer.ts';
import { at } from './system-calls.ts';

describe('FileStatus', () => {
  const status = new FileStatus();
  const name = new NameBuffer();

  for (const path of ['/', '/etc/passwd', '/dev/null', '/proc/self/exe'])
    it(`agrees with Node's own stat of ${path}`, () => {
      assert.ok(status.readAt(at.currentDirectory, name.latin1(path), true));
      const expected = statSync(path, { bigint: true });
      assert.equal(BigInt(status.inode), expected.ino);
      assert.equal(BigInt(status.size), expected.size);
      assert.equal(BigInt(status.mode), expected.mode & 0o7777n);
      assert.equal(BigInt(status.uid), expected.uid);
      assert.equal(BigInt(status.gid), expected.gid);
      assert.equal(BigInt(status.links), expected.nlink);
      assert.equal(BigInt(status.blocks), expected.blocks);
      assert.equal(status.mtimeNs, expected.mtimeNs);
      assert.equal(status.ctimeNs, expected.ctimeNs);
      assert.equal(status.isDirectory, expected.isDirectory());
      assert.equal(status.isFile, expected.isFile());
      assert.equal(status.type === 'character-device', expected.isCharacterDevice());
    });

  it('reads an open file', () => {
    const fd = openSync('/etc/passwd', 'r');
    const { inode } = readStatus(fd, status);
    assert.equal(BigInt(inode), fstatSync(fd, { bigint: true }).ino);
    closeSync(fd);
  });

  it('knows the same object by two names', () => {
    const other = new FileStatus();
    assert.ok(status.readAt(at.currentDirectory, name.latin1('/etc')));
    assert.ok(other.readAt(at.currentDirectory, name.latin1('/etc/.')));
    assert.ok(status.isSameObject(other));
    assert.equal(status.identity, other.identity);
    assert.ok(other.readAt(at.currentDirectory, name.latin1('/')));
    assert.equal(status.isSameObject(other), false);
  });

  it('says no to what is not there, and to a name that is too long', () => {
    assert.equal(status.readAt(at.currentDirectory, name.latin1('/nothing')), false);
    assert.equal(status.readAt(at.currentDirectory, name.latin1(`/etc/passwd${'/'.repeat(5000)}`)), false);
  });
});
