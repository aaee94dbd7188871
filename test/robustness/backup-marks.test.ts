// A keeper comes while a backup runs, at the worst moment: between the list that the backup has stored and its signature.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { X25519Identity } from '../../src/age/x25519.ts';
import { systemClock } from '../../src/clock/clock.ts';
import { backup } from '../../src/operation/backup/backup.ts';
import { HostConfigurations } from '../../src/operation/host-configurations.ts';
import { init } from '../../src/operation/init/init.ts';
import { KeeperSession } from '../../src/operation/keeper/keeper-session.ts';
import { listSnapshots } from '../../src/operation/open-repository.ts';
import { prune } from '../../src/operation/prune/prune.ts';
import { decodeChecksums } from '../../src/repository/snapshot/checksums.ts';
import { packName, snapshotFileName } from '../../src/repository/layout.ts';
import { planRoots } from '../../src/source/source-roots.ts';
import { generateEd25519Key } from '../../src/ssh/encode-private-key.ts';
import { privateKeySigner } from '../../src/ssh/signer.ts';
import { MemoryStorage } from '../../src/storage/memory/memory-storage.ts';
import type { CreateResult } from '../../src/storage/storage.ts';

/** Has something done just after an object was stored whose name matches. */
class InterruptedStorage extends MemoryStorage {
  after: { readonly name: RegExp; readonly work: () => Promise<void> } | undefined;

  override async create(name: string, body: readonly Uint8Array[]): Promise<CreateResult> {
    const result = await super.create(name, body);
    const { after } = this;
    if (after?.name.test(name)) {
      this.after = undefined;
      await after.work();
    }
    return result;
  }
}

test('a pack that is marked while a backup runs is not referred to: the run begins once more', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-marks-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const source = join(folder, 'src');
  mkdirSync(source);
  writeFileSync(join(source, 'stays'), 'stays');
  writeFileSync(join(source, 'file'), Buffer.alloc(50_000, 'content '));
  await setTimeout(50);
  const storage = new InterruptedStorage();
  const { signal } = new AbortController();
  const host = await init({
    storage,
    configurations: new HostConfigurations(join(folder, 'config')),
    url: 'memory',
    recipients: [X25519Identity.generate().recipient.toString()],
    signingKey: '/nowhere',
    name: 'host',
    clock: systemClock,
    signal,
  });
  const signer = privateKeySigner(generateEd25519Key('host'));
  const run = (): ReturnType<typeof backup> =>
    backup({
      storage,
      host,
      signer,
      source: { kind: 'paths', paths: [source], walk: { roots: planRoots([source]) } },
      folder: join(folder, 'cache'),
      threads: 1,
      observer: { onProblem: () => {}, onProgress: () => {}, onNotice: () => {} },
      clock: systemClock,
      signal,
    });
  const keeper = privateKeySigner(generateEd25519Key('keeper'));
  const open = (): Promise<KeeperSession> =>
    KeeperSession.open({
      storage,
      signer: keeper,
      stateFolder: join(folder, 'keeper'),
      clock: systemClock,
      signal,
      onNotice: (message) => assert.fail(message),
    });
  const listed = async (): Promise<string[]> => {
    const { id } = (await listSnapshots(storage)).committed.at(-1)!;
    const list = (await storage.read(snapshotFileName(id, 'SHA256SUMS')))!;
    return [...decodeChecksums(list, id).packs];
  };
  await run();
  const first = await listed();

  // A keeper that is wrong about everything: what the run refers to is marked between list and signature.
  storage.after = {
    name: /SHA256SUMS$/,
    work: async () => {
      using session = await open();
      await session.record({ action: 'mark', packs: first as never, indexes: [], unfinished: [] });
    },
  };
  writeFileSync(join(source, 'stays'), 'has changed');
  const { counts } = await run();
  assert.equal((await listSnapshots(storage)).committed.length, 2);
  assert.ok(counts.bytesRead >= 50_000, 'what lies in marked packs is read again');
  const second = await listed();
  assert.deepEqual(
    second.filter((pack) => first.includes(pack)),
    [],
  );
  // The first snapshot still needs them: nothing goes, and the unfinished one is in nobody's way.
  {
    using session = await open();
    const result = await prune({ storage, session, graceMs: 0, now: new Date(Date.now() + 1000), signal });
    assert.equal(result.removed.objects, 0);
    assert.equal(result.released, first.length);
  }
  for (const pack of [...first, ...second]) assert.ok(await storage.stat(packName(pack as never)));
});
