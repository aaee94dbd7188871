import assert from 'node:assert/strict';
import { test } from 'node:test';
import { storageChecks } from '../../operation/doctor/storage-checks.ts';
import { MemoryStorage } from '../memory/memory-storage.ts';
import { ScopedStorage } from './scoped-storage.ts';

for (const check of storageChecks)
  test(`scoped: ${check.title}`, async () => {
    const inner = new MemoryStorage();
    for (const name of ['beside', 'scop/beside', 'scope/beside', 's0']) await inner.create(name, []);
    const [storage, second] = [new ScopedStorage(inner, 's/'), new ScopedStorage(inner, 's/')];
    await check.run({ storage, second, bigBytes: 100_000, manyObjects: 50 });
  });

test('a scope leaves alone what is outside of it', async () => {
  const inner = new MemoryStorage();
  await inner.create('scope/in', []);
  await inner.create('out', []);
  const scope = new ScopedStorage(inner, 'scope/');
  assert.equal(await scope.stat('out'), undefined);
  await assert.rejects(() => scope.stat('../out'));
  assert.equal(await scope.remove('out'), 'absent');
  await scope.remove('in');
  assert.deepEqual(
    (await Array.fromAsync(inner.list(''))).map(({ name }) => name),
    ['out'],
  );
});
