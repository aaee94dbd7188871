import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FaultyStorage } from '../../test/support/faulty-storage.ts';
import { MemoryStorage } from './memory/memory-storage.ts';
import { ObjectWriter } from './object-writer.ts';

test('what is written is stored by commit, whatever becomes of the buffers', async () => {
  const storage = new MemoryStorage();
  const writer = new ObjectWriter(storage, 'object');
  const part = new Uint8Array(3_000_000);
  for (let index = 0; index < 8; index++) {
    part.fill(index);
    await writer.write([part.subarray(0, 1000), part.subarray(1000)]);
    part.fill(0xff);
  }
  assert.equal(await storage.stat('object'), undefined);
  await writer.commit();
  const stored = (await storage.read('object'))!;
  assert.equal(stored.length, 24_000_000);
  for (let index = 0; index < stored.length; index += 99_999)
    assert.equal(stored[index], Math.floor(index / part.length));
  await writer.discard();
  assert.ok(await storage.stat('object'));
});

test('what is discarded is not stored', async () => {
  const storage = new MemoryStorage();
  const writer = new ObjectWriter(storage, 'object');
  await writer.write([new Uint8Array(10)]);
  await writer.discard();
  assert.equal(await storage.stat('object'), undefined);
});

test('a taken name and a failing storage are told to whoever writes', async () => {
  const storage = new MemoryStorage();
  await storage.create('object', []);
  const late = new ObjectWriter(storage, 'object');
  await assert.rejects(() => late.commit(), /there already/);
  const failing = new ObjectWriter(new FaultyStorage(storage, { plan: () => 'error' }), 'other');
  await assert.rejects(async () => {
    for (let index = 0; index < 20; index++) await failing.write([new Uint8Array(1_000_000)]);
  }, /on purpose/);
  await assert.rejects(() => failing.commit(), /on purpose/);
  await failing.discard();
});
