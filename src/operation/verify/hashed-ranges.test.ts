import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { ObjectReader } from '../worker/object-reader.ts';
import { HashedRanges } from './hashed-ranges.ts';

const pieceBytes = 1024 * 1024;

/** Reads from memory, and counts. */
function readerOf(bytes: Uint8Array): ObjectReader & { bytesRead: number } {
  const fake = {
    isRemote: false,
    bytesRead: 0,
    readInto(_name: string, offset: number, into: Uint8Array): number {
      const found = bytes.subarray(offset, offset + into.length);
      into.set(found);
      fake.bytesRead += found.length;
      return found.length;
    },
    read(_name: string, { offset, length }: { offset: number; length: number }): Uint8Array {
      const found = bytes.slice(offset, offset + length);
      fake.bytesRead += found.length;
      return found;
    },
  };
  return fake as unknown as ObjectReader & { bytesRead: number };
}

function bytesOf(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0, state = 7; at < size; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

const largest = bytesOf(3 * pieceBytes);

test('hands out ascending ranges, the end first, reads every byte once and hashes it', () => {
  const sizes = fc.oneof(
    fc.integer({ min: 0, max: largest.length }),
    fc.constantFrom(0, 1, pieceBytes - 1, pieceBytes, pieceBytes + 1, 2 * pieceBytes, largest.length),
  );
  const property = fc.property(
    sizes,
    fc.nat(200_000),
    fc.array(fc.nat(1_500_000), { maxLength: 6 }),
    (size, tailBytes, cuts) => {
      const bytes = largest.subarray(0, size);
      const objects = readerOf(bytes);
      const ranges = new HashedRanges(objects);
      const ask = (offset: number, end: number): void => {
        const found = ranges.read({ offset, length: end - offset });
        assert.ok(Buffer.from(found).equals(bytes.subarray(offset, end)), `${offset} to ${end}`);
      };
      ranges.open('object');
      const tail = Math.max(0, size - tailBytes);
      ask(tail, size);
      ranges.goThrough();
      let offset = 0;
      for (const length of cuts) {
        const end = Math.min(size, offset + length);
        ask(offset, end);
        offset = end;
      }
      const { digest, sizeBytes, head } = ranges.finish();
      assert.equal(digest, createHash('sha256').update(bytes).digest('hex'));
      assert.deepEqual([sizeBytes, head.length], [size, Math.min(size, 64 * 1024)]);
      // What the end and the first piece have in common is read with both.
      const twice = size > pieceBytes ? Math.max(0, pieceBytes - tail) : 0;
      assert.equal(objects.bytesRead, size + twice);
    },
  );
  fc.assert(property, { seed: 20_261_123, numRuns: 60 });
});

test('an object that is shorter or longer than was thought is hashed as it is', () => {
  for (const size of [10, 2 * pieceBytes + 10]) {
    const bytes = largest.subarray(0, size);
    const ranges = new HashedRanges(readerOf(bytes));
    ranges.open('object');
    assert.equal(ranges.read({ offset: size - 5, length: 100 }).length, 5);
    assert.equal(ranges.read({ offset: size + 5, length: 100 }).length, 0);
    assert.equal(ranges.finish().digest, createHash('sha256').update(bytes).digest('hex'));
  }
});
