import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { Envelope } from '../../age/envelope.ts';
import { concatBytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { limits } from '../limits.ts';
import { fetchAsync, fetchSync, fromBytes } from './fetch.ts';
import { PackReader, type SealedObject } from './pack-reader.ts';
import { PackWriter, packTargetBytes, sealDocument, type FinishedPack } from './pack-writer.ts';

const fileKey = new Uint8Array(16).fill(7);
const envelope: Envelope = { fileKey, header: Buffer.from('a stand-in for an age header\n') };
const headerBytes = envelope.header.length;
const kib = 1024;

function store(pack: FinishedPack): { bytes: Uint8Array; object: SealedObject } {
  const bytes = concatBytes(pack.parts);
  return { bytes, object: { name: 'packs/x', sizeBytes: bytes.length, headerBytes, fileKey } };
}

function open(bytes: Uint8Array, object: SealedObject): PackReader {
  return fetchSync(PackReader.open(object), fromBytes(bytes));
}

function digestOf(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

function compressible(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * seed + (at >>> 5)) & 0x3f);
}

function isDamage(error: unknown): boolean {
  return error instanceof SalvageError && error.code === 'damaged' && error.message.includes('"packs/x"');
}

test('blobs of all sizes come back, by range and frame by frame', async () => {
  const lengths = [1, 2, 1000, kib * kib - 1, kib * kib, kib * kib + 1, 3, 4 * kib * kib, 70_000, 5];
  const blobs = lengths.map((length, index) =>
    index % 2 ? randomBytes(length) : compressible(length, index),
  );
  const writer = new PackWriter(envelope, { checkFrames: true });
  const offsets = blobs.map((blob) => writer.add(blob, digestOf(blob)));
  const pack = writer.finish('full');
  const { bytes, object } = store(pack);
  assert.equal(pack.id, createHash('sha256').update(bytes).digest('hex'));
  assert.equal(pack.sizeBytes, bytes.length);
  assert.equal((pack.sizeBytes - headerBytes - 16) % (64 * kib + 16), 0, 'whole chunks');
  assert.equal(pack.blobs.count, blobs.length);

  const reader = open(bytes, object);
  const raw = reader.frames.map((_, index) => fetchSync(reader.readFrame(index), fromBytes(bytes)).slice());
  assert.deepEqual(concatBytes(raw), concatBytes(blobs));
  fetchSync(reader.checkPadding(), fromBytes(bytes));
  for (const [index, blob] of blobs.entries()) {
    assert.equal(pack.blobs.length(index), blob.length);
    const read = (range: { offset: number; length: number }): Promise<Uint8Array> =>
      Promise.resolve(fromBytes(bytes)(range));
    const found = await fetchAsync(
      reader.readBlob(offsets[index]!, blob.length, pack.blobs.digest(index)),
      read,
    );
    assert.deepEqual(Buffer.from(found), Buffer.from(blob));
  }
  assert.throws(
    () => fetchSync(reader.readBlob(0, 1, digestOf(Buffer.from('other'))), fromBytes(bytes)),
    isDamage,
  );
  assert.throws(
    () => fetchSync(reader.readBlob(offsets[3]! - 1, 5, digestOf(Buffer.from('x'))), fromBytes(bytes)),
    isDamage,
    'a range that crosses frames',
  );
});

test('opening a pack asks for its nonce and its end, a blob for its own chunks', () => {
  const writer = new PackWriter(envelope);
  for (let index = 0; index < 12; index++) writer.add(randomBytes(limits.sharedFrame), randomBytes(32));
  const pack = writer.finish('full');
  const { bytes, object } = store(pack);
  const asked: number[] = [];
  const read = ({ offset, length }: { offset: number; length: number }): Uint8Array => {
    asked.push(length);
    return bytes.subarray(offset, offset + length);
  };
  const reader = fetchSync(PackReader.open(object), read);
  assert.deepEqual(asked, [16, 2 * (64 * kib + 16)]);
  fetchSync(reader.readFrame(5), read);
  assert.equal(asked.length, 3);
  assert.ok(asked[2]! <= (limits.sharedFrame / (64 * kib) + 2) * (64 * kib + 16));
});

test('a pack is full at its target and never larger than an object may be', () => {
  const writer = new PackWriter(envelope, { targetBytes: 3 * limits.sharedFrame });
  let added = 0;
  while (!writer.isFull) {
    writer.add(randomBytes(limits.sharedFrame));
    added++;
  }
  assert.equal(added, 3);
  assert.equal(packTargetBytes(0), limits.packTarget.smallest);
  assert.equal(packTargetBytes(2 ** 50), limits.packTarget.largest);
  assert.equal(packTargetBytes(2 ** 36), 32 * kib * kib);
});

test('a pack of tiny blobs is full when its list is long', () => {
  const writer = new PackWriter(envelope);
  const digest = randomBytes(32);
  while (!writer.isFull) writer.add(Uint8Array.of(1), digest);
  assert.equal(writer.finish('full').blobs.count, 65_536);
});

test('documents of any length are sealed to Padmé sizes and come back', () => {
  for (const length of [0, 1, 1000, kib * kib, kib * kib + 1, 3_000_000]) {
    const document = randomBytes(length);
    const { bytes, object } = store(sealDocument(envelope, document));
    const reader = open(bytes, object);
    assert.deepEqual(Buffer.from(fetchSync(reader.readDocument(length), fromBytes(bytes))), document);
    fetchSync(reader.checkPadding(), fromBytes(bytes));
    if (length > 0)
      assert.throws(() => fetchSync(reader.readDocument(length - 1), fromBytes(bytes)), isDamage);
  }
});

test('a changed, shortened or lengthened pack is damage of that object, wherever it is changed', () => {
  const writer = new PackWriter(envelope);
  writer.add(compressible(300_000, 3));
  writer.add(randomBytes(100_000));
  const { bytes, object } = store(writer.finish('last'));
  const readAll = (changed: Uint8Array): void => {
    const reader = open(changed, { ...object, sizeBytes: changed.length });
    for (const index of reader.frames.keys()) fetchSync(reader.readFrame(index), fromBytes(changed));
    fetchSync(reader.checkPadding(), fromBytes(changed));
  };
  readAll(bytes);
  fc.assert(
    fc.property(
      fc.integer({ min: headerBytes, max: bytes.length - 1 }),
      fc.integer({ min: 1, max: 255 }),
      (at, flip) => {
        const changed = bytes.slice();
        changed[at]! ^= flip;
        assert.throws(() => readAll(changed), isDamage);
      },
    ),
    { numRuns: 40, seed: 1 },
  );
  for (const cut of [1, 16, 17, 65_552, bytes.length - headerBytes - 5])
    assert.throws(() => readAll(bytes.subarray(0, bytes.length - cut)), isDamage);
  assert.throws(() => readAll(concatBytes([bytes, new Uint8Array(1)])), isDamage);
  const object2 = { ...object, sizeBytes: bytes.length + 65_552 };
  assert.throws(() => open(bytes, object2), isDamage, 'storage gives less than its size');
});
