import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { PackId } from '../../repository/ids.ts';
import { BlobList } from '../../repository/pack/blob-list.ts';
import { Journal, type JournaledPack } from './journal.ts';

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

function pack(name: string, blobs: number): JournaledPack {
  const list = new BlobList();
  for (let index = 0; index < blobs; index++) list.add(digest(`${name} ${index}`), index + 1);
  return {
    id: digest(name).toString('hex') as PackId,
    kind: blobs % 2 ? 'tree' : 'content',
    sizeBytes: 1000,
    blobs: list,
  };
}

test('what was written is read again, up to the first record that is not whole', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-journal-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'journal');
  const journal = new Journal(path);
  assert.deepEqual(journal.read(), []);
  const packs = [pack('a', 3), pack('b', 0), pack('c', 100)];
  const ends: number[] = [];
  for (const one of packs) {
    journal.append(one);
    ends.push(readFileSync(path).length);
  }
  journal.close();
  const summary = (list: readonly JournaledPack[]): unknown[] =>
    list.map(({ id, kind, sizeBytes, blobs }) => [
      id,
      kind,
      sizeBytes,
      Buffer.from(blobs.bytes).toString('hex'),
    ]);
  assert.deepEqual(summary(new Journal(path).read()), summary(packs));

  const whole = readFileSync(path);
  for (let length = 0; length < whole.length; length += 7) {
    writeFileSync(path, whole.subarray(0, length));
    const complete = ends.filter((end) => end <= length).length;
    assert.deepEqual(summary(new Journal(path).read()), summary(packs.slice(0, complete)));
  }
  for (let at = 0; at < whole.length; at += 11) {
    const damaged = Buffer.from(whole);
    damaged[at]! ^= 0x40;
    writeFileSync(path, damaged);
    const complete = ends.filter((end) => end <= at).length;
    assert.deepEqual(summary(new Journal(path).read()), summary(packs.slice(0, complete)));
  }
  new Journal(path).clear();
  assert.deepEqual(new Journal(path).read(), []);
});
