import assert from 'node:assert/strict';
import {
  linkSync,
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
import { beforeEach, afterEach, test } from 'node:test';
import { SalvageError } from '../errors/salvage-error.ts';
import { isSameFile, OutputFile } from './output-file.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'salvage-output-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const path = (name: string): string => join(folder, name);
const failed = (error: unknown): boolean => error instanceof SalvageError && error.code === 'failed';

test('the name is there when the file is whole, not before', () => {
  using file = new OutputFile(path('new'), { sync: true });
  file.write(Buffer.from('one '));
  assert.ok(!readdirSync(folder).includes('new'));
  file.write(Buffer.from('two'));
  file.commit();
  assert.deepEqual(readdirSync(folder), ['new']);
  assert.equal(readFileSync(path('new'), 'utf8'), 'one two');
});

test('without commit nothing remains, and an older file is as it was', () => {
  writeFileSync(path('old'), 'old');
  for (const name of ['new', 'old']) {
    using file = new OutputFile(path(name));
    file.write(Buffer.from('half'));
  }
  assert.deepEqual(readdirSync(folder), ['old']);
  assert.equal(readFileSync(path('old'), 'utf8'), 'old');
});

test('a replaced file keeps its permissions, and a link stays a link', () => {
  writeFileSync(path('target'), 'old', { mode: 0o604 });
  symlinkSync('target', path('link'));
  using file = new OutputFile(path('link'), { mode: 0o600 });
  file.write(Buffer.from('new'));
  file.commit();
  assert.deepEqual(readdirSync(folder), ['link', 'target']);
  assert.equal(readFileSync(path('target'), 'utf8'), 'new');
  assert.equal(statSync(path('target')).mode & 0o777, 0o604);
});

test('a new file has the mode that is asked for', () => {
  using file = new OutputFile(path('secret'), { mode: 0o600 });
  file.commit();
  assert.equal(statSync(path('secret')).mode & 0o777, 0o600);
});

test('no folder, or a folder of that name, are errors', () => {
  mkdirSync(path('folder'));
  assert.throws(() => new OutputFile(path('missing/file')), failed);
  assert.throws(() => new OutputFile(path('folder')), failed);
});

test('the same file is known under every name it has', () => {
  writeFileSync(path('file'), '');
  linkSync(path('file'), path('hard'));
  symlinkSync('file', path('soft'));
  writeFileSync(path('other'), '');
  assert.ok(isSameFile(path('file'), path('hard')));
  assert.ok(isSameFile(path('soft'), path('hard')));
  assert.ok(isSameFile(path('file'), `${folder}/./file`));
  assert.ok(!isSameFile(path('file'), path('other')));
  assert.ok(!isSameFile(path('file'), path('missing')));
});
