import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { SalvageError } from '../../errors/salvage-error.ts';
import { MemoryStorage } from '../../storage/memory/memory-storage.ts';
import { ObjectPieces } from './object-pieces.ts';

const signal = new AbortController().signal;

async function readAll(pieces: ObjectPieces): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(pieces.read(signal)));
}

for (const size of [0, 1, 4 << 20, (4 << 20) + 1, 30_000_000])
  test(`${size} bytes are read, twice`, async () => {
    const storage = new MemoryStorage();
    const bytes = randomBytes(size);
    await storage.create('object', [bytes]);
    const pieces = await ObjectPieces.open(storage, 'object', signal);
    assert.ok((await readAll(pieces)).equals(bytes));
    assert.ok((await readAll(pieces)).equals(bytes));
  });

test('storage cannot give other bytes the second time, nor fewer', async () => {
  const storage = new MemoryStorage();
  const bytes = randomBytes(9_000_000);
  await storage.create('object', [bytes]);
  const pieces = await ObjectPieces.open(storage, 'object', signal);
  await readAll(pieces);
  for (const other of [
    Buffer.concat([bytes.subarray(0, -1), randomBytes(1)]),
    bytes.subarray(1),
    undefined,
  ]) {
    await storage.remove('object');
    if (other) await storage.create('object', [other]);
    await assert.rejects(
      () => readAll(pieces),
      (error) => error instanceof SalvageError && error.code === 'damaged',
    );
  }
  await assert.rejects(() => ObjectPieces.open(storage, 'object', signal), /no such object/);
});
