import assert from 'node:assert/strict';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { replacePrivateFile } from './replace-private-file.ts';

describe('a private file', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'salvage-private-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test('comes in the place of the one before, in a folder that need not be there', () => {
    const path = join(folder, 'a', 'b', 'file');
    replacePrivateFile(path, 'first');
    replacePrivateFile(path, Buffer.from('second'));
    assert.equal(readFileSync(path, 'utf8'), 'second');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(join(folder, 'a')).mode & 0o777, 0o700);
    assert.deepEqual(readdirSync(join(folder, 'a', 'b')), ['file']);
  });

  test('goes through no link that lies in its way, and over what a killed run left', () => {
    const path = join(folder, 'file');
    writeFileSync(join(folder, 'other'), 'other');
    symlinkSync('other', `${path}.new`);
    replacePrivateFile(path, 'content');
    assert.equal(readFileSync(join(folder, 'other'), 'utf8'), 'other');
    assert.equal(readFileSync(path, 'utf8'), 'content');
    writeFileSync(`${path}.new`, 'half', { mode: 0o644 });
    replacePrivateFile(path, 'more');
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  test('leaves the one before where it cannot come', () => {
    const path = join(folder, 'taken');
    replacePrivateFile(path, 'before');
    assert.throws(() => replacePrivateFile(join(path, 'below'), ''), { code: /ENOTDIR|EEXIST/ });
    assert.equal(readFileSync(path, 'utf8'), 'before');
  });
});
