import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SalvageError } from '../../errors/salvage-error.ts';
import { MemoryStorage } from '../../storage/memory/memory-storage.ts';
import type { ObjectLock, Retention, Storage } from '../../storage/storage.ts';
import { extendLocks } from './extend-locks.ts';

const policy = { mode: 'governance', days: 8 } as const;
const day = (number: number): Date => new Date(Date.UTC(2026, 0, 1) + number * 86_400_000);

class LockingStorage extends MemoryStorage {
  readonly asked: { names: readonly string[]; retention: Retention }[] = [];
  readonly objectLock: ObjectLock = {
    lockNew: () => {},
    extend: async (names, retention) => {
      await Promise.resolve();
      this.asked.push({ names: [...names].sort(), retention });
    },
  };
}

test('a lock is extended once in a while, and never too late', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-locks-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'locks');
  const storage = new LockingStorage();
  const { signal } = new AbortController();
  const run = async (names: readonly string[], started: Date, now: Date = started): Promise<number> => {
    storage.asked.length = 0;
    return await extendLocks({ storage, policy, names, path, started, now, signal });
  };
  assert.equal(await run(['a', 'b'], day(0)), 2);
  // Eight days, and an eighth.
  assert.deepEqual(storage.asked, [{ names: ['a', 'b'], retention: { mode: 'governance', until: day(9) } }]);
  assert.equal(await run(['a', 'b'], day(0.5)), 0);
  assert.equal(storage.asked.length, 0);
  assert.equal(await run(['a', 'b', 'c'], day(1)), 1, 'only what is new');
  assert.equal(await run(['a', 'c'], day(1.1)), 1, 'a has less than eight days left');
  assert.deepEqual(storage.asked[0]!.names, ['a']);
  assert.equal(await run(['a', 'b', 'c'], day(1.2)), 1, 'what is not needed is forgotten');
  assert.equal(await run(['a', 'd'], day(1.3), day(4)), 2, 'a run that takes days');
  assert.deepEqual(storage.asked[0]!.retention.until, day(13));
  writeFileSync(path, 'salvage-locks 1\na 99999999999999\nb x\n\0\n');
  assert.equal(await run(['a', 'b'], day(4)), 2, 'a damaged file is no knowledge');
  writeFileSync(path, 'anything');
  assert.equal(await run(['a', 'b'], day(4)), 2);
});

test('a storage without locks is refused', async () => {
  const storage: Storage = new MemoryStorage();
  const options = { storage, policy, names: [], path: '/nowhere', started: day(0), now: day(0) };
  await assert.rejects(
    extendLocks({ ...options, signal: new AbortController().signal }),
    (error) => error instanceof SalvageError && error.code === 'usage',
  );
});
