import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { systemClock, type Clock } from '../../src/clock/clock.ts';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import type { BackupResult } from '../../src/operation/backup/backup.ts';
import { listSnapshots } from '../../src/operation/open-repository.ts';
import { readSignedSnapshot, readSnapshotJson } from '../../src/operation/reading/signed-snapshot.ts';
import type { ObjectDigest } from '../../src/repository/ids.ts';
import { indexName, packName } from '../../src/repository/layout.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { createBackupHost, runBackup, type BackupHost } from '../support/backup-host.ts';
import { FaultyStorage, type Fault } from '../support/faulty-storage.ts';

async function prepare(t: TestContext): Promise<BackupHost> {
  const host = await createBackupHost(t);
  for (let index = 0; index < 10; index++)
    writeFileSync(join(host.folder, 'src', `f${index}`), `content ${index}`.repeat(5000));
  await setTimeout(50);
  return host;
}

const run = (host: BackupHost, storage: Storage, clock: Clock = systemClock): Promise<BackupResult> =>
  runBackup(host, { storage, clock });

/** Every committed snapshot has all its objects, is signed, and continues the one before it. */
async function verify(storage: Storage): Promise<number> {
  let previous: ObjectDigest | null = null;
  let sequence = 0;
  for (const { id } of (await listSnapshots(storage)).committed) {
    const signed = await readSignedSnapshot(storage, id, undefined, new Date());
    const json = await readSnapshotJson(storage, signed);
    assert.equal(json.previous, previous);
    assert.equal(json.sequence, ++sequence);
    previous = signed.digest;
    for (const name of [...signed.checksums.packs.map(packName), ...signed.checksums.indexes.map(indexName)])
      assert.ok(await storage.stat(name), `${name} is listed and stored`);
  }
  return sequence;
}

test('a fault at any call to storage ends the run, harms nothing, and the next run stores nothing twice', async (t) => {
  const counted = await prepare(t);
  const healthy = new FaultyStorage(counted.storage, { plan: () => undefined });
  const { counts } = await run(counted, healthy);
  assert.ok(healthy.calls > 8);
  for (const fault of ['error', 'lost-reply', 'timeout', 'short'] satisfies Fault[]) {
    for (let call = 0; call < healthy.calls; call++) {
      const surroundings = await prepare(t);
      let halved = '';
      let content = '';
      const faulty = new FaultyStorage(surroundings.storage, {
        timeoutMs: 2,
        plan(index, kind, name) {
          // The tree's pack is on its way beside it, and may be stored where this one is not.
          if (kind === 'create' && name.startsWith('packs/')) content ||= name;
          if (index !== call) return undefined;
          // Half a signature is beyond what can be undone: no storage that keeps to its contract stores one.
          if (fault !== 'short') return fault;
          if (kind !== 'create' || name.endsWith('.sig')) return 'error';
          halved = name;
          return 'short';
        },
      });
      await assert.rejects(run(surroundings, faulty), SalvageError, `${fault} at call ${call}`);
      await verify(surroundings.storage);
      const stored: string[] = [];
      for await (const { name } of surroundings.storage.list('packs/'))
        if (name !== halved) stored.push(name);
      const again = await run(surroundings, surroundings.storage);
      assert.ok((await verify(surroundings.storage)) >= 1);
      const bytesNew = stored.includes(content) ? 0 : counts.bytesNew;
      assert.equal(
        again.counts.bytesNew,
        bytesNew,
        `${fault} at call ${call}: ${stored.length} packs were stored`,
      );
    }
  }
});

test('a clock that jumps back does not disturb the order of snapshots', async (t) => {
  const surroundings = await prepare(t);
  const at = (time: string): Clock => ({ ...systemClock, now: () => new Date(time) });
  const first = await run(surroundings, surroundings.storage, at('2031-01-01T00:00:00Z'));
  const second = await run(surroundings, surroundings.storage, at('2026-01-01T00:00:00Z'));
  assert.ok(second.snapshot! > first.snapshot!);
  assert.equal(await verify(surroundings.storage), 2);
});

test('a repository that was set back is noticed, and the chain goes on from what the host remembers', async (t) => {
  const surroundings = await prepare(t);
  const { storage, folder } = surroundings;
  await run(surroundings, storage);
  const second = await run(surroundings, storage);
  for await (const { name } of storage.list(`snapshots/${second.snapshot}/`)) await storage.remove(name);
  writeFileSync(join(folder, 'src', 'f1'), 'else');
  const third = await run(surroundings, storage);
  assert.match(third.snapshot!, /^00000003-/);
});
