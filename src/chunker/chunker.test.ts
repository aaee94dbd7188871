import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Chunker, maxBlobBytes, minBlobBytes } from './chunker.ts';

const seed = Buffer.alloc(32, 'seed');
const knownCuts = [596683, 1241569, 953029, 805021, 1171447, 232251];

/** The words of docs/design/format.md "Chunking", one by one. */
function slowCut(seed: Uint8Array, content: Uint8Array): number {
  const values = createHash('shake256', { outputLength: 1024 })
    .update('salvage-gear-v1')
    .update(seed)
    .digest();
  let hash = 0n;
  for (let position = 262_144; position < content.length && position < 4_194_304; position++) {
    const gear = BigInt(values.readUInt32LE(content[position]! * 4));
    hash = (hash * 2n + gear) % 2n ** 32n;
    const zeroBits = position < 917_504 ? 21n : 18n;
    if (hash >> (32n - zeroBits) === 0n) return position + 1;
  }
  return Math.min(content.length, 4_194_304);
}

function cuts(chunker: Chunker, content: Uint8Array): number[] {
  const all: number[] = [];
  for (let start = 0; start < content.length; start += all.at(-1)!)
    all.push(chunker.cut(content, start, content.length));
  return all;
}

/** Pseudo-random, the same in every run. */
function sample(length: number, name: string): Buffer {
  return createHash('shake256', { outputLength: length }).update(name).digest();
}

test('cuts are those of the slow simple twin', () => {
  const chunker = new Chunker(seed);
  const content = sample(6_000_000, 'twin');
  for (let start = 0; start < content.length;) {
    const length = chunker.cut(content, start, content.length);
    assert.equal(length, slowCut(seed, content.subarray(start)));
    start += length;
  }
});

test('a known answer, which must never change', () => {
  assert.deepEqual(cuts(new Chunker(seed), sample(5_000_000, 'known')), knownCuts);
});

test('lengths around the bounds', () => {
  const chunker = new Chunker(seed);
  const zeros = new Uint8Array(maxBlobBytes + 10);
  for (const length of [1, minBlobBytes - 1, minBlobBytes])
    assert.equal(chunker.cut(zeros, 0, length), length);
  assert.equal(chunker.cut(zeros, 0, zeros.length), maxBlobBytes);
  assert.equal(chunker.cut(zeros, 20, zeros.length), maxBlobBytes - 10);
});

test('what lies behind the largest blob does not matter, nor what lies before', () => {
  const chunker = new Chunker(seed);
  const content = sample(12_000_000, 'window');
  for (let start = 0; start < content.length;) {
    const length = chunker.cut(content, start, content.length);
    const end = Math.min(content.length, start + maxBlobBytes);
    assert.equal(chunker.cut(content.subarray(start, end), 0, end - start), length);
    start += length;
  }
});

test('an insertion changes a few blobs and no more', () => {
  const chunker = new Chunker(seed);
  const content = sample(40_000_000, 'edit');
  const digests = (bytes: Uint8Array): string[] => {
    let start = 0;
    return cuts(chunker, bytes).map((length) => {
      start += length;
      return createHash('sha1')
        .update(bytes.subarray(start - length, start))
        .digest('hex');
    });
  };
  const before = new Set(digests(content));
  const edited = Buffer.concat([
    content.subarray(0, 15_000_000),
    Buffer.from('inserted'),
    content.subarray(15_000_000),
  ]);
  const fresh = digests(edited).filter((digest) => !before.has(digest));
  assert.ok(fresh.length >= 1 && fresh.length <= 4, `${fresh.length} new blobs`);
});

test('sizes have a mean of about 1 MiB and are within the bounds', () => {
  const sizes = cuts(new Chunker(seed), sample(100_000_000, 'sizes')).slice(0, -1);
  const mean = sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
  assert.ok(mean > 900 * 1024 && mean < 1150 * 1024, `mean ${mean}`);
  assert.ok(sizes.every((size) => size > minBlobBytes && size <= maxBlobBytes));
});

test('another seed cuts elsewhere; a seed of another length is refused', () => {
  const content = sample(5_000_000, 'known');
  assert.notDeepEqual(cuts(new Chunker(randomBytes(32)), content), knownCuts);
  assert.throws(() => new Chunker(new Uint8Array(31)), RangeError);
});
