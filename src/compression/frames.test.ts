import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import * as fc from 'fast-check';
import { SalvageError } from '../errors/salvage-error.ts';
import { padmeBytes } from './padme.ts';
import {
  encodeSeekTable,
  parseSeekFooter,
  parseSeekTable,
  seekFooterBytes,
  seekTableBytes,
} from './seek-table.ts';
import { isPaddingFrame, paddingFrame } from './skippable-frame.ts';
import { compressedBound, compressFrame, decompressFrame } from './zstd-frame.ts';
import { needsPeers } from '../../test/support/peers.ts';

const isDamage = (error: unknown): boolean => error instanceof SalvageError && error.code === 'damaged';

test('frames of all sizes and levels come back', () => {
  for (const length of [1, 2, 63, 64, 65, 1000, 131_072, 1_048_576, 4_194_304])
    for (const level of [-5, 1, 3, 9])
      for (const raw of [randomBytes(length), Buffer.alloc(length, 'salvage')]) {
        if (level === 9 && length > 200_000) continue;
        const frame = compressFrame(raw, level);
        assert.ok(frame.length <= compressedBound(length));
        assert.deepEqual(Buffer.from(decompressFrame(frame, length)), raw);
      }
});

test('a frame of another size than announced is refused, without allocating for it', () => {
  const bomb = zstdCompressSync(Buffer.alloc(50_000_000));
  assert.throws(() => decompressFrame(bomb, 1000), isDamage);
  const frame = compressFrame(Buffer.alloc(1000), 3);
  for (const size of [1, 999, 1001]) assert.throws(() => decompressFrame(frame, size), isDamage);
  assert.throws(() => decompressFrame(frame.subarray(0, -1), 1000), isDamage);
  assert.throws(() => decompressFrame(paddingFrame(10), 1000), isDamage);
  assert.throws(() => decompressFrame(new Uint8Array(0), 1), isDamage);
});

test('any bytes are decompressed or damaged', () => {
  const valid = compressFrame(Buffer.from('some text, some text, some text, some more text'), 3);
  const mutated = fc.tuple(fc.nat(valid.length - 1), fc.nat(255)).map(([at, byte]) => {
    const bytes = Uint8Array.from(valid);
    bytes[at] = byte;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array()), (bytes) => {
      try {
        assert.equal(decompressFrame(bytes, 47).length, 47);
      } catch (error) {
        assert.ok(isDamage(error));
      }
    }),
    { seed: 3, numRuns: 500 },
  );
});

test('the real zstd reads frames, padding and seek table as one stream', needsPeers, () => {
  const blobs = [Buffer.from('first '), Buffer.alloc(100_000, 'second '), randomBytes(5000)];
  const frames = blobs.map((blob) => compressFrame(blob, 3));
  const padding = paddingFrame(1234);
  const entries = [...frames, padding].map((frame, index) => ({
    compressedBytes: frame.length,
    rawBytes: blobs[index]?.length ?? 0,
  }));
  const stream = Buffer.concat([...frames, padding, encodeSeekTable(entries)]);
  assert.deepEqual(execFileSync('zstd', ['-d', '-c'], { input: stream }), Buffer.concat(blobs));
});

test('a seek table comes back, and its bytes are those of the seekable format', () => {
  const entries = [
    { compressedBytes: 1, rawBytes: 2 },
    { compressedBytes: 2 ** 32 - 1, rawBytes: 0 },
  ];
  const table = encodeSeekTable(entries);
  assert.equal(
    Buffer.from(table).toString('hex'),
    '5e2a4d18190000000100000002000000ffffffff000000000200000000b1ea928f',
  );
  assert.equal(parseSeekFooter(table.subarray(-seekFooterBytes), 2), table.length);
  assert.deepEqual(parseSeekTable(table), entries);
  assert.deepEqual(parseSeekTable(encodeSeekTable([])), []);
  assert.throws(() => parseSeekFooter(table.subarray(-seekFooterBytes), 1), isDamage, 'more than allowed');
});

test('any other bytes are no seek table', () => {
  const table = encodeSeekTable([{ compressedBytes: 10, rawBytes: 20 }]);
  for (let at = 0; at < table.length; at++) {
    if (at >= 8 && at < 16) continue;
    const changed = Uint8Array.from(table);
    changed[at]! ^= 1;
    assert.throws(() => {
      if (parseSeekFooter(changed.subarray(-seekFooterBytes), 100) !== changed.length)
        parseSeekTable(table.subarray(1));
      parseSeekTable(changed);
    }, isDamage);
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        assert.equal(seekTableBytes(parseSeekTable(bytes).length), bytes.length);
      } catch (error) {
        assert.ok(isDamage(error));
      }
    }),
    { seed: 4 },
  );
});

test('padding frames', () => {
  for (const length of [0, 1, 70_000]) {
    const frame = paddingFrame(length);
    assert.equal(frame.length, length + 8);
    assert.ok(isPaddingFrame(frame));
    assert.ok(!isPaddingFrame(frame.subarray(0, -1)));
  }
  assert.ok(!isPaddingFrame(new Uint8Array(20)));
});

test('Padmé sizes: known ones, never smaller, at most 12 % more, few of them', () => {
  for (const [length, padded] of [
    [0, 0],
    [1, 1],
    [8, 8],
    [9, 10],
    [17, 18],
    [100, 104],
    [1000, 1024],
    [65_536, 65_536],
    [65_537, 67_584],
  ] as const)
    assert.equal(padmeBytes(length), padded, String(length));
  const sizes = new Set<number>();
  for (let length = 1; length <= 100_000; length++) {
    const padded = padmeBytes(length);
    assert.ok(padded >= length && padded <= length * 1.12 + 1);
    assert.equal(padmeBytes(padded), padded);
    sizes.add(padded);
  }
  assert.ok(sizes.size < 300, String(sizes.size));
});
