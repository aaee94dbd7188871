import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { SortedReferences } from './sorted-references.ts';
import { blobReferenceBytes } from './verify-messages.ts';

test('references come in order of offset, up to the largest, and those that say the same are told', () => {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const references = [
    [2 ** 30 - 1, 5, digest('e')],
    [7, 3, digest('b')],
    [0, 7, digest('a')],
    [7, 3, digest('b')],
    [7, 4, digest('c')],
    [2 ** 32 - 1, 1, digest('f')],
  ] as const;
  const records = Buffer.alloc(references.length * blobReferenceBytes);
  for (const [index, [offset, size, sha]] of references.entries()) {
    records.writeUInt32LE(offset, index * blobReferenceBytes);
    records.writeUInt32LE(size, index * blobReferenceBytes + 4);
    sha.copy(records, index * blobReferenceBytes + 8);
  }
  const sorted = new SortedReferences(records);
  const found = Array.from({ length: sorted.length }, (_, rank) => [
    sorted.offset(rank),
    sorted.size(rank),
    sorted.digest(rank),
    sorted.isRepeated(rank),
  ]);
  assert.deepEqual(found, [
    [0, 7, digest('a'), false],
    [7, 3, digest('b'), false],
    [7, 3, digest('b'), true],
    [7, 4, digest('c'), false],
    [2 ** 30 - 1, 5, digest('e'), false],
    [2 ** 32 - 1, 1, digest('f'), false],
  ]);
  assert.equal(new SortedReferences(new Uint8Array(0)).length, 0);
});
