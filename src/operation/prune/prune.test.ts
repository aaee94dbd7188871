import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { AttackedRepository, someFile } from '../../../test/support/attacked-repository.ts';
import { HandMadeRepository } from '../../../test/support/hand-made-repository.ts';
import type { ObjectDigest, PackId, SnapshotId } from '../../repository/ids.ts';
import { indexName, packName, snapshotFileName } from '../../repository/layout.ts';
import { MemoryStorage } from '../../storage/memory/memory-storage.ts';
import { StorageDecorator } from '../../storage/storage-decorator.ts';
import type { ObjectStat } from '../../storage/storage.ts';
import { RemovalMarks } from '../keeper/removal-marks.ts';

const scratch = mkdtempSync(join(tmpdir(), 'salvage-prune-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

let count = 0;
let nowMs = Date.now();

/** Storage and keeper have one clock; every look at it is a millisecond later. */
async function prepare(storage: MemoryStorage = memory()): Promise<AttackedRepository> {
  return new AttackedRepository(
    storage,
    await HandMadeRepository.create(storage),
    join(scratch, String(count++)),
  );
}

function memory(): MemoryStorage {
  return new MemoryStorage({ now: () => new Date(nowMs++), monotonicMs: () => nowMs });
}

/** Three snapshots, the first forgotten: its packs are needed by nobody. */
async function withGarbage(): Promise<{
  readonly kept: AttackedRepository;
  readonly garbage: readonly string[];
}> {
  const kept = await prepare();
  const { contentPacks, treePack, index } = await kept.repository.snapshot([someFile('a')]);
  await kept.repository.snapshot([someFile('b')]);
  await kept.repository.snapshot([someFile('c')]);
  await kept.forget(2);
  return { kept, garbage: [...[...contentPacks, treePack].map(packName), indexName(index)] };
}

async function remaining({ storage }: AttackedRepository, names: readonly string[]): Promise<number> {
  const stats = await Promise.all(names.map((name) => storage.stat(name)));
  return stats.filter((stat) => stat !== undefined).length;
}

describe('prune', () => {
  it('marks, waits, and removes', async () => {
    const { kept, garbage } = await withGarbage();
    const first = await kept.prune();
    assert.deepEqual([first.marked.objects, first.removed.objects, first.waiting.objects], [3, 0, 0]);
    kept.passTime(23);
    const second = await kept.prune();
    assert.deepEqual([second.marked.objects, second.removed.objects, second.waiting.objects], [0, 0, 3]);
    assert.equal(await remaining(kept, garbage), 3);
    kept.passTime(2);
    const third = await kept.prune();
    assert.deepEqual([third.marked.objects, third.removed.objects, third.kept.objects], [0, 3, 6]);
    assert.equal(third.removed.bytes, first.marked.bytes);
    assert.equal(await remaining(kept, garbage), 0);
    await kept.finds([]);
    const fourth = await kept.prune();
    assert.deepEqual([fourth.marked.objects, fourth.removed.objects], [0, 0]);
  });

  it('touches nothing that was stored after the newest snapshot: a run may be at work', async () => {
    const { kept } = await withGarbage();
    await kept.prune();
    const pack = packName('ab'.repeat(32) as PackId);
    await kept.storage.create(pack, [Buffer.from('of a run that takes a week')]);
    kept.passTime(7 * 24);
    await kept.prune();
    assert.equal((await kept.prune(0)).marked.objects, 0);
    await kept.repository.snapshot([someFile('d')]);
    // That run has come to its end, and does not need it.
    assert.equal((await kept.prune(0)).marked.objects, 1);
    assert.equal((await kept.prune(0)).removed.objects, 1);
    assert.equal(await remaining(kept, [pack]), 0);
  });

  it('does the same where storage does not tell when it received something', async () => {
    class Silent extends MemoryStorage {
      override async *list(prefix: string): AsyncGenerator<ObjectStat> {
        for await (const stat of super.list(prefix)) yield { ...stat, receivedAt: undefined };
      }
    }
    const kept = await prepare(new Silent());
    await kept.repository.snapshot([someFile('a')]);
    const pack = packName('ab'.repeat(32) as PackId);
    await kept.storage.create(pack, [Buffer.from('left over')]);
    assert.equal((await kept.prune(0)).marked.objects, 0);
    assert.equal((await kept.prune(0)).marked.objects, 0);
    await kept.repository.snapshot([someFile('b')]);
    assert.equal((await kept.prune(0)).marked.objects, 1);
    assert.equal((await kept.prune(0)).removed.objects, 1);
    assert.equal(await remaining(kept, [pack]), 0);
    await kept.finds([]);
  });

  it('releases what is needed again', async () => {
    const { kept, garbage } = await withGarbage();
    const { contentPacks } = await kept.repository.snapshot([someFile('d')]);
    await kept.prune();
    const again = packOf(garbage[0]!);
    await kept.repository.snapshot([someFile('e')], { alsoListed: [again, ...contentPacks] });
    kept.passTime(25);
    const { removed, released } = await kept.prune();
    assert.deepEqual([removed.objects, released], [2, 1]);
    await kept.finds([]);
  });

  it('removes a snapshot that came to nothing, when another has taken its place', async () => {
    const kept = await prepare();
    await kept.repository.snapshot([someFile('a')]);
    const left = '00000002-20261123T100000Z-00000000' as SnapshotId;
    const pack = 'ab'.repeat(32) as PackId;
    await kept.storage.create(packName(pack), [Buffer.from('needed by nobody else')]);
    await kept.storage.create(snapshotFileName(left, 'snapshot.json'), [Buffer.from('{}')]);
    // Cut short within the second line: what is whole counts.
    const list = `${pack}  ${packName(pack)}\n${pack.slice(0, 10)}`;
    await kept.storage.create(snapshotFileName(left, 'SHA256SUMS'), [Buffer.from(list)]);
    kept.passTime(48);
    assert.equal((await kept.prune()).marked.objects, 0);
    assert.deepEqual(await marksOf(kept), []);
    await kept.repository.snapshot([someFile('b')]);
    await kept.prune();
    assert.deepEqual(await marksOf(kept), [left]);
    kept.passTime(25);
    await kept.prune();
    assert.equal((await kept.copyAll(`snapshots/${left}/`)).size, 0);
    // Only then is its pack nobody's.
    assert.ok(await kept.storage.stat(packName(pack)));
    await kept.prune();
    kept.passTime(25);
    await kept.prune();
    assert.equal(await kept.storage.stat(packName(pack)), undefined);
    await kept.finds([]);
  });

  it('takes up what an earlier run has signed and not done', async () => {
    const { kept, garbage } = await withGarbage();
    await kept.prune();
    kept.passTime(25);
    const before = await kept.copyAll();
    await kept.prune();
    // As if it had ended after its record and before it removed anything.
    for (const name of garbage) await kept.storage.create(name, [before.get(name)!]);
    const again = await kept.prune();
    assert.deepEqual([again.removed.objects, again.marked.objects], [3, 0]);
    assert.equal(await remaining(kept, garbage), 0);
  });

  it('keeps what stands for a needed object by a record, and no longer than that', async () => {
    const kept = await prepare();
    const { contentPacks } = await kept.repository.snapshot([someFile('a')]);
    const substitute = 'ab'.repeat(32) as PackId;
    await kept.storage.create(packName(substitute), [Buffer.from('the same under another header')]);
    await kept.repository.snapshot([someFile('b')]);
    {
      using session = await kept.session();
      const objects = [[contentPacks[0]!, substitute]] as const;
      await session.record({ action: 'rewrapped', recipients: 'cd'.repeat(16), objects });
    }
    assert.equal((await kept.prune(0)).marked.objects, 0);
    await kept.forget(1);
    // The pack, the tree and the index of the snapshot that is gone, and what stood for the pack.
    assert.equal((await kept.prune(0)).marked.objects, 4);
    assert.equal((await kept.prune(0)).removed.objects, 4);
    assert.equal(await remaining(kept, [packName(substitute)]), 0);
  });

  it('leaves the removal to shares, which write nothing, and ends what they did', async () => {
    const { kept, garbage } = await withGarbage();
    await kept.prune();
    kept.passTime(25);
    const first = await kept.prune(24, { recordOnly: true });
    assert.deepEqual([first.left.objects, first.removed.objects, first.kept.objects], [3, 0, 6]);
    assert.equal(await remaining(kept, garbage), 3);
    const again = await kept.prune(24, { recordOnly: true });
    assert.deepEqual([again.left.objects, again.marked.objects], [3, 0]);
    const records = await kept.copyAll('keeper/');

    const shards = [1, 2, 3].map((number) => ({ number, count: 3 }));
    const planned = await Promise.all(shards.map((shard) => kept.prune(24, { shard, dryRun: true })));
    assert.equal(await remaining(kept, garbage), 3);
    const done = await Promise.all(shards.map((shard) => kept.prune(24, { shard })));
    for (const results of [planned, done])
      for (const [what, total] of [
        ['removed', 3],
        ['marked', 0],
        ['kept', 6],
      ] as const)
        assert.equal(
          results.reduce((sum, result) => sum + result[what].objects, 0),
          total,
          what,
        );
    assert.equal(await remaining(kept, garbage), 0);
    assert.deepEqual(await kept.copyAll('keeper/'), records);
    assert.equal((await RemovalMarks.read(kept.storage)).has(packOf(garbage[0]!)), true);
    await kept.finds([]);

    await kept.repository.snapshot([someFile('d')]);
    await kept.forget(1);
    await kept.prune();
    assert.equal((await RemovalMarks.read(kept.storage)).has(packOf(garbage[0]!)), false);
    await kept.finds([]);
  });

  it('does in a share nothing that no trusted record says, or that is over', async () => {
    const { kept, garbage } = await withGarbage();
    const all = { shard: { number: 1, count: 1 } };
    await kept.prune();
    kept.passTime(25);
    assert.equal((await kept.prune(24, all)).removed.objects, 0);
    assert.equal(await remaining(kept, garbage), 3);
    await kept.prune(24, { recordOnly: true });
    // A record that comes meanwhile and does not know of it, whoever wrote it.
    const late = new LateRecord(kept.storage);
    const shared = new AttackedRepository(late, kept.repository, join(scratch, String(count++)));
    Object.assign(shared, { keeper: kept.keeper });
    assert.equal((await shared.prune(24, all)).removed.objects, 0);
    assert.equal(await remaining(kept, garbage), 3);
  });

  it('removes in shares what was rewrapped, although what stands for it is in another one', async () => {
    const kept = await prepare();
    const { contentPacks } = await kept.repository.snapshot([someFile('a')]);
    const [from] = contentPacks;
    const to = `${from!.startsWith('0') ? '1' : '0'}${from!.slice(1)}` as PackId;
    await kept.storage.create(packName(to), [Buffer.from('the same under another header')]);
    await kept.repository.snapshot([someFile('b')]);
    {
      using session = await kept.session();
      await session.record({ action: 'rewrapped', recipients: 'cd'.repeat(16), objects: [[from!, to]] });
    }
    const rewrapped = true;
    assert.equal((await kept.prune(0, { rewrapped })).marked.objects, 1);
    assert.equal((await kept.prune(0, { rewrapped, recordOnly: true })).left.objects, 1);
    const shard = { number: (Number.parseInt(from!.slice(0, 2), 16) % 16) + 1, count: 16 };
    assert.equal((await kept.prune(0, { shard })).removed.objects, 0);
    assert.equal((await kept.prune(0, { rewrapped, shard })).removed.objects, 1);
    assert.ok(await kept.storage.stat(packName(to)));
  });

  it('works in shares beside other shares, and beside nothing else', async () => {
    const { kept } = await withGarbage();
    {
      using _ = await kept.session(undefined, { shared: true });
      await kept.prune(24, { shard: { number: 1, count: 2 } });
      await assert.rejects(kept.prune(), /another run of this keeper is at it/);
    }
    using _ = await kept.session();
    await assert.rejects(
      kept.prune(24, { shard: { number: 1, count: 2 } }),
      /another run of this keeper is at it/,
    );
  });

  it('writes nothing in a dry run', async () => {
    const { kept } = await withGarbage();
    const before = await kept.copyAll();
    const result = await kept.prune(24, { dryRun: true });
    assert.equal(result.marked.objects, 3);
    assert.deepEqual(await kept.copyAll(), before);
  });

  it('records nothing where nothing may be removed', async () => {
    class AddOnly extends MemoryStorage {
      override readonly capabilities = { exclusiveCreate: true, remove: false };
    }
    const kept = await prepare(new AddOnly());
    await kept.repository.snapshot([someFile('a')]);
    await kept.repository.snapshot([someFile('b')]);
    await assert.rejects(kept.forget(), /it may only be added to from here/);
    await assert.rejects(kept.prune(), /it may only be added to from here/);
    assert.equal((await kept.prune(24, { dryRun: true })).marked.objects, 0);
    assert.equal((await kept.copyAll('keeper/')).size, 0);
  });

  it('refuses to work beside itself', async () => {
    const { kept } = await withGarbage();
    using _ = await kept.session();
    await assert.rejects(kept.prune(), /another run of this keeper is at it/);
  });
});

describe('removal marks', () => {
  const snapshot = '00000009-20261123T100000Z-00000000' as SnapshotId;

  it('are seen from the record on until what they name is gone', async () => {
    const { kept, garbage } = await withGarbage();
    const pack = packOf(garbage[0]!);
    const before = await RemovalMarks.read(kept.storage);
    assert.ok(!before.has(pack));
    await before.confirm(snapshot, [pack]);
    await kept.prune();
    const marked = await RemovalMarks.read(kept.storage);
    assert.ok(marked.has(pack));
    await assert.rejects(before.confirm(snapshot, [pack]), /a keeper has marked 1 of the packs/);
    // What a run does not refer to is none of its business.
    await before.confirm(snapshot, ['ab'.repeat(32) as PackId]);
    kept.passTime(25);
    await kept.prune();
    const swept = await RemovalMarks.read(kept.storage);
    assert.ok(swept.has(pack));
    await kept.repository.snapshot([someFile('d')]);
    await kept.forget(1);
    await kept.prune();
    const over = await RemovalMarks.read(kept.storage);
    assert.ok(!over.has(pack));
    // A run that began before all of it does not miss what is no longer open.
    await assert.rejects(before.confirm(snapshot, [pack]), /a keeper has marked 1 of the packs/);
  });

  it('count all of them where the newest record cannot be read', async () => {
    const { kept, garbage } = await withGarbage();
    await kept.prune();
    for (const file of ['json', 'json.sig'])
      await kept.storage.create(`keeper/00000099-20261123T100000Z.${file}`, [Buffer.from('nonsense')]);
    const marks = await RemovalMarks.read(kept.storage);
    assert.ok(marks.has(packOf(garbage[0]!)));
  });
});

function packOf(name: string): PackId {
  return name.slice('packs/00/'.length, -'.age'.length) as PackId;
}

/** Has another record than before from the second look on. */
class LateRecord extends StorageDecorator {
  #looks = 0;

  override async *list(prefix: string): AsyncGenerator<ObjectStat> {
    if (prefix === 'keeper/' && ++this.#looks === 3)
      for (const file of ['json', 'json.sig'])
        await this.inner.create(`keeper/00000099-20261123T100000Z.${file}`, [Buffer.from('nonsense')]);
    yield* super.list(prefix);
  }
}

async function marksOf({ storage }: AttackedRepository): Promise<string[]> {
  const all: string[] = [];
  for await (const { name } of storage.list('keeper/')) {
    if (!name.endsWith('.json')) continue;
    const record = JSON.parse(Buffer.from((await storage.read(name))!).toString()) as {
      readonly action: string;
      readonly unfinished: readonly ObjectDigest[];
    };
    if (record.action === 'mark') all.push(...record.unfinished);
  }
  return all;
}
