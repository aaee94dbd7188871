import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStorage } from '../../storage/memory/memory-storage.ts';
import type { ObjectStat } from '../../storage/storage.ts';
import { measureStorage } from './measure-storage.ts';

const dayMs = 86_400_000;
const now = new Date('2026-11-23T12:00:00Z');

/** Each entry: how many days ago, and bytes. */
async function storageOf(
  entries: readonly (readonly [days: number, bytes: number])[],
): Promise<MemoryStorage> {
  let time = now;
  const storage = new MemoryStorage({ now: () => time, monotonicMs: () => 0 });
  for (const [number, [days, bytes]] of entries.entries()) {
    time = new Date(now.getTime() - days * dayMs);
    await storage.create(`packs/${number}`, [new Uint8Array(bytes)]);
  }
  return storage;
}

test('what came in within a day, a week and a month', async () => {
  assert.deepEqual(await measureStorage(await storageOf([]), now), {
    objects: 0,
    bytes: 0,
    grown: { day: 0, week: 0, month: 0 },
  });
  const storage = await storageOf([
    // By a clock of storage that is ahead of ours.
    [-0.1, 1],
    [0.9, 10],
    [1, 100],
    [6.9, 1000],
    [7, 10_000],
    [30, 100_000],
  ]);
  assert.deepEqual(await measureStorage(storage, now), {
    objects: 6,
    bytes: 111_111,
    grown: { day: 11, week: 1111, month: 11_111 },
  });
});

test('a storage that does not tell when says nothing of growth', async () => {
  class Timeless extends MemoryStorage {
    override async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
      for await (const stat of super.list(prefix, signal)) yield { ...stat, receivedAt: undefined };
    }
  }
  const storage = new Timeless();
  await storage.create('a', [new Uint8Array(5)]);
  assert.deepEqual(await measureStorage(storage, now), { objects: 1, bytes: 5, grown: undefined });
});
