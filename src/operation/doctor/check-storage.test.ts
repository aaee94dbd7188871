import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FaultyStorage } from '../../../test/support/faulty-storage.ts';
import { systemClock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { MemoryStorage } from '../../storage/memory/memory-storage.ts';
import type { ByteRange, CreateResult, ObjectStat, Storage } from '../../storage/storage.ts';
import { checkStorage, type StorageReport } from './check-storage.ts';

async function examine(storage: Storage, signal = new AbortController().signal): Promise<StorageReport> {
  return await checkStorage({ storage, second: storage, thorough: false, clock: systemClock, signal });
}

const stateOf = ({ findings }: StorageReport, id: string): string | undefined =>
  findings.find((finding) => finding.id === id)?.state;

const unfit = ({ findings }: StorageReport): string[] =>
  findings.filter(({ state, isNeeded }) => isNeeded && state === 'not honoured').map(({ id }) => id);

const refuse = (what: string): Promise<never> =>
  Promise.reject(new SalvageError('failed', `Cannot ${what}: permission denied`));

test('a storage that does all is fit, and nothing stays in it', async () => {
  const storage = new MemoryStorage();
  await storage.create('mine', []);
  const report = await examine(storage);
  assert.equal(report.isFit, true);
  assert.deepEqual(unfit(report), []);
  assert.deepEqual([report.mayRead, report.mayRemove, report.objectsLeft], [true, true, 0]);
  assert.equal(stateOf(report, 'clock'), 'honoured');
  assert.deepEqual(
    (await Array.fromAsync(storage.list(''))).map(({ name }) => name),
    ['mine'],
  );
});

test('what a storage does not honour is found', async () => {
  class Overwriting extends MemoryStorage {
    override async create(name: string, body: readonly Uint8Array[]): Promise<CreateResult> {
      await super.remove(name);
      return await super.create(name, body);
    }
  }
  class Cutting extends MemoryStorage {
    override async create(name: string, body: readonly Uint8Array[]): Promise<CreateResult> {
      return await super.create(name, [Buffer.concat(body).subarray(0, 1_000_000)]);
    }
  }
  class Disorderly extends MemoryStorage {
    override async *list(prefix: string): AsyncGenerator<ObjectStat> {
      yield* (await Array.fromAsync(super.list(prefix))).toReversed();
    }
  }
  class FirstPageOnly extends MemoryStorage {
    override async *list(prefix: string): AsyncGenerator<ObjectStat> {
      yield* (await Array.fromAsync(super.list(prefix))).slice(0, 50);
    }
  }
  class WholeOnly extends MemoryStorage {
    override async read(name: string, _range?: ByteRange): Promise<Uint8Array | undefined> {
      return await super.read(name);
    }
  }
  class CaseBlind extends MemoryStorage {
    override async create(name: string, body: readonly Uint8Array[]): Promise<CreateResult> {
      return await super.create(name.replace('OBJECT', 'object'), body);
    }
  }
  for (const [storage, expected] of [
    [new Overwriting(), ['no-overwrite', 'empty', 'streams']],
    [new Cutting(), ['big', 'streams']],
    [new Disorderly(), ['order', 'streams']],
    [new FirstPageOnly(), ['many']],
    [new WholeOnly(), ['ranges', 'big']],
    [new CaseBlind(), []],
  ] as const) {
    const report = await examine(storage);
    assert.deepEqual(unfit(report), expected, storage.constructor.name);
    assert.equal(report.isFit, expected.length === 0);
    if (storage instanceof CaseBlind) assert.equal(stateOf(report, 'case'), 'not honoured');
  }
});

test('an account that may not remove is recognised, and little is left behind', async () => {
  class AppendOnly extends MemoryStorage {
    override async remove(): Promise<never> {
      return await refuse('remove');
    }
  }
  const storage = new AppendOnly();
  const report = await examine(storage);
  assert.equal(report.isFit, true);
  assert.equal(report.mayRemove, false);
  assert.equal(stateOf(report, 'remove'), 'no');
  assert.equal(stateOf(report, 'clean-up'), 'no');
  const left = await Array.fromAsync(storage.list(''));
  assert.equal(report.objectsLeft, left.length);
  assert.ok(left.every(({ name }) => name.startsWith(report.scratch)));
  assert.ok(left.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) < 8_000_000);
});

test('an account that may not read is checked as far as it goes', async () => {
  class WriteOnly extends MemoryStorage {
    override async read(): Promise<never> {
      return await refuse('read');
    }
  }
  const report = await examine(new WriteOnly());
  assert.equal(report.isFit, true);
  assert.equal(report.mayRead, false);
  assert.equal(stateOf(report, 'ranges'), 'not checked');
  assert.equal(stateOf(report, 'many'), 'honoured');
});

test('an account that may not store is not fit', async () => {
  class ReadOnly extends MemoryStorage {
    override async create(): Promise<never> {
      return await refuse('store');
    }
  }
  assert.deepEqual(unfit(await examine(new ReadOnly())), ['store']);
});

test('an interruption ends it, and what was tried is cleared up all the same', async () => {
  const storage = new MemoryStorage();
  const controller = new AbortController();
  const reason = new SalvageError('interrupted', 'Interrupted');
  const interrupting = new FaultyStorage(storage, {
    plan: (index) => {
      if (index === 60) controller.abort(reason);
      return undefined;
    },
  });
  await assert.rejects(examine(interrupting, controller.signal), (error) => error === reason);
  assert.deepEqual(await Array.fromAsync(storage.list('')), []);
});
