import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { concatBytes } from '../bytes/bytes.ts';
import { randomBytes } from '../clock/random.ts';
import { createEnvelope } from './envelope.ts';
import { encryptPayload } from './payload.ts';
import { openRandomAccess } from './random-access.ts';
import type { RandomAccessSource } from './random-access.ts';
import { X25519Identity } from './x25519.ts';

const identity = X25519Identity.generate();
const plaintext = randomBytes(5 * 65_536);

async function encrypt(bytes: Uint8Array): Promise<Uint8Array> {
  const { fileKey, header } = await createEnvelope([identity.recipient]);
  return concatBytes([header, ...encryptPayload(fileKey, bytes)]);
}

function sourceOf(file: Uint8Array): RandomAccessSource & { reads: [number, number][] } {
  const reads: [number, number][] = [];
  return {
    size: file.length,
    reads,
    read: async (offset, length) => {
      assert.ok(offset + length <= file.length, 'reads stay within the file');
      reads.push([offset, length]);
      return file.slice(offset, offset + length);
    },
  };
}

test('any range equals a slice of the plaintext', async () => {
  for (const length of [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000, 5 * 65_536]) {
    const whole = plaintext.subarray(0, length);
    const file = await encrypt(whole);
    for (const tailBytes of [0, 100_000]) {
      const reader = await openRandomAccess(sourceOf(file), [identity], { tailBytes });
      assert.equal(reader.size, length);
      const same = await openRandomAccess(sourceOf(file), reader.fileKey);
      await fc.assert(
        fc.asyncProperty(fc.nat(length + 10), fc.nat(length + 10), async (offset, count) => {
          const expected = whole.subarray(offset, offset + count);
          assert.ok(Buffer.from(await reader.read(offset, count)).equals(expected));
          assert.ok(Buffer.from(await same.read(offset, count)).equals(expected));
        }),
        {
          numRuns: 20,
          examples: [
            [0, length],
            [length, 1],
            [65_535, 2],
          ],
        },
      );
    }
  }
});

test('opening takes two reads, one for a small file, and a range one more', async () => {
  const source = sourceOf(await encrypt(plaintext));
  const reader = await openRandomAccess(source, [identity], { tailBytes: 70_000 });
  assert.equal(source.reads.length, 2);
  await reader.read(reader.size - 70_000, 70_000);
  assert.equal(source.reads.length, 2, 'the tail came with the last chunk');
  await reader.read(10, 3 * 65_536);
  assert.equal(source.reads.length, 3);
  const small = sourceOf(await encrypt(plaintext.subarray(0, 5000)));
  await (await openRandomAccess(small, [identity])).read(0, 5000);
  assert.equal(small.reads.length, 1);
});

test('a file cut at a chunk or anywhere else does not open', async () => {
  const file = await encrypt(plaintext);
  const header = file.length - 16 - 5 * 65_552;
  for (let chunks = 0; chunks < 5; chunks++)
    for (const extra of [0, 1, 15, 16, 17, 5000])
      await assert.rejects(
        openRandomAccess(sourceOf(file.subarray(0, header + 16 + chunks * 65_552 + extra)), [identity]),
        {
          code: 'age-payload',
        },
      );
  for (const size of [0, 10, header - 1, header, header + 15])
    await assert.rejects(openRandomAccess(sourceOf(file.subarray(0, size)), [identity]), {
      code: 'age-header',
    });
});

test('a damaged chunk fails the ranges that touch it and no others', async () => {
  const file = await encrypt(plaintext);
  file[file.length - 5 * 65_552 + 2 * 65_552 + 9]! ^= 1;
  const reader = await openRandomAccess(sourceOf(file), [identity]);
  await assert.rejects(reader.read(65_536, 65_537), { code: 'age-payload' });
  assert.equal((await reader.read(0, 131_072)).length, 131_072);
  assert.equal((await reader.read(3 * 65_536, 65_536)).length, 65_536);
});

test('a source that gives too little, a stranger and a foreign file key are refused', async () => {
  const file = await encrypt(plaintext);
  await assert.rejects(openRandomAccess(sourceOf(file), [X25519Identity.generate()]), {
    code: 'no-identity-match',
  });
  await assert.rejects(openRandomAccess(sourceOf(file), new Uint8Array(16)), { code: 'age-hmac' });
  const short: RandomAccessSource = {
    size: file.length,
    read: async (offset, length) => file.slice(offset, Math.min(offset + length, 70_000)),
  };
  await assert.rejects(openRandomAccess(short, [identity]), { code: 'age-payload' });
  const reader = await openRandomAccess(sourceOf(file), [identity]);
  await assert.rejects(reader.read(-1, 5), RangeError);
});
