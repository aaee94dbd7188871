import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { MemoryStorage } from '../memory/memory-storage.ts';
import { stageObject } from '../staged-object.ts';
import { RateLimitedStorage } from './rate-limited-storage.ts';

const limited = (bytesPerSecond: number): RateLimitedStorage =>
  new RateLimitedStorage(new MemoryStorage(), bytesPerSecond, systemClock);

test('stores no more than so much a second, however it is stored, and reads as fast as it can', async () => {
  const storage = limited(1_000_000);
  const bytes = new Uint8Array(50_000);
  async function* stream(): AsyncGenerator<Uint8Array> {
    yield bytes;
  }
  const startMs = systemClock.monotonicMs();
  await Promise.all([
    storage.create('a', [bytes, bytes]),
    storage.createStaged(stageObject(storage.stageSpec, 'b', [bytes])),
    storage.createFromStream('c', stream()),
  ]);
  const tookMs = systemClock.monotonicMs() - startMs;
  // A timer may be early by a millisecond.
  assert.ok(tookMs >= 195, `200,000 bytes in ${tookMs} ms`);
  for (const name of ['a', 'b', 'c']) assert.ok((await storage.read(name))!.length >= 50_000);
});

test('time in which nothing was stored is not saved up', async () => {
  let nowMs = 0;
  const clock = { now: () => new Date(nowMs), monotonicMs: () => nowMs };
  const storage = new RateLimitedStorage(new MemoryStorage(), 1_000_000, clock);
  nowMs = 3_600_000;
  const startMs = systemClock.monotonicMs();
  await storage.create('a', [new Uint8Array(50_000)]);
  assert.ok(systemClock.monotonicMs() - startMs >= 48);
});

test('whoever waits can be stopped', async () => {
  const stop = new AbortController();
  const reason = new SalvageError('interrupted', 'Interrupted');
  const storage = limited(1);
  const stored = storage.create('a', [new Uint8Array(1_000_000)], stop.signal);
  stop.abort(reason);
  await assert.rejects(stored, reason);
  assert.equal(await storage.stat('a'), undefined);
});
