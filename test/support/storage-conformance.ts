// What every storage must do, whatever it is: run with `testStorage` from the test of each implementation. The checks that
// make sense for a user's storage too are those of `salvage doctor`.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { storageChecks } from '../../src/operation/doctor/storage-checks.ts';
import { stageObject, stagedTransfer } from '../../src/storage/staged-object.ts';
import type { ObjectStat, Storage } from '../../src/storage/storage.ts';

export interface StorageUnderTest {
  /** An empty storage. Several instances on the same place are several clients. */
  open(): Promise<{ storage: Storage; second: Storage; close: () => Promise<void> }>;
  /** Size of the largest object that is tried. Default 20 MiB. */
  readonly bigBytes?: number;
  /** How many objects are listed at once. Default 300. */
  readonly manyObjects?: number;
}

const text = (content: string): Uint8Array[] => [Buffer.from(content)];

async function collect(objects: AsyncIterable<ObjectStat>): Promise<ObjectStat[]> {
  const all: ObjectStat[] = [];
  for await (const object of objects) all.push(object);
  return all;
}

async function names(storage: Storage, prefix: string): Promise<string[]> {
  return (await collect(storage.list(prefix))).map(({ name }) => name);
}

function isFailure(error: unknown): boolean {
  return error instanceof SalvageError && error.code === 'failed';
}

export function testStorage(label: string, subject: StorageUnderTest): void {
  const check = (name: string, run: (storage: Storage, second: Storage) => Promise<void>): void => {
    test(`${label}: ${name}`, async () => {
      const { storage, second, close } = await subject.open();
      try {
        await run(storage, second);
      } finally {
        await close();
      }
    });
  };

  for (const each of storageChecks)
    check(each.title, async (storage, second) => {
      await each.run({
        storage,
        second,
        bigBytes: subject.bigBytes ?? 20 * 1024 * 1024,
        manyObjects: subject.manyObjects ?? 300,
      });
    });

  check(
    'when an object was received is told by a clock that is about right, or not at all',
    async (storage) => {
      await storage.create('object', text('x'));
      const [listed] = await collect(storage.list(''));
      for (const { receivedAt } of [listed!, (await storage.stat('object'))!])
        assert.ok(receivedAt === undefined || Math.abs(receivedAt.getTime() - Date.now()) < 86_400_000);
    },
  );

  check('names that no object has are refused', async (storage) => {
    const odd = [
      '',
      '/',
      '/a',
      'a/',
      'a//b',
      '.',
      '..',
      '../a',
      'a/../b',
      'a/./b',
      '.hidden',
      'a/.hidden',
      'a b',
      'a\0b',
      'a\nb',
      'ä',
      '-a',
      'a/-rf',
      '_a',
      'a\\b',
      'a%2fb',
      'x'.repeat(257),
      'a/'.repeat(8) + 'a',
      'C:\\a',
    ];
    for (const name of odd) {
      await assert.rejects(async () => await storage.create(name, text('x')), isFailure, `create ${name}`);
      await assert.rejects(async () => await storage.read(name), isFailure, `read ${name}`);
      await assert.rejects(async () => await storage.stat(name), isFailure, `stat ${name}`);
      await assert.rejects(async () => await storage.remove(name), isFailure, `remove ${name}`);
    }
    for (const prefix of ['..', '../', '/', 'a/../', '.x', 'a/.', 'a b', 'x'.repeat(300)])
      await assert.rejects(async () => await names(storage, prefix), isFailure, `list ${prefix}`);
    const longest = `a${'/a.-_Z9'.repeat(7)}${'x'.repeat(200)}`;
    await storage.create(longest, text('x'));
    assert.deepEqual(await names(storage, ''), [longest]);
  });

  check('an object is gone once it is removed, and can be created again', async (storage) => {
    await storage.create('a/b/object', text('x'));
    if (!storage.capabilities.remove) {
      await assert.rejects(async () => await storage.remove('a/b/object'), isFailure);
      return;
    }
    assert.equal(await storage.remove('a/b/object'), 'removed');
    await storage.settle();
    assert.equal(await storage.remove('a/b/object'), 'absent');
    assert.equal(await storage.read('a/b/object'), undefined);
    assert.deepEqual(await names(storage, ''), []);
    assert.equal(await storage.create('a/b/object', text('again')), 'created');
    assert.deepEqual(await storage.read('a/b/object'), new Uint8Array(Buffer.from('again')));
  });

  check('an aborted call throws the reason, and half an object is never there', async (storage) => {
    const reason = new Error('stopped by the test');
    const stopped = AbortSignal.abort(reason);
    const isReason = (error: unknown): boolean => error === reason;
    await assert.rejects(async () => await storage.create('object', text('x'), stopped), isReason);
    await assert.rejects(async () => await storage.read('object', undefined, stopped), isReason);
    await assert.rejects(async () => await storage.stat('object', stopped), isReason);
    await assert.rejects(async () => await collect(storage.list('', stopped)), isReason);
    await assert.rejects(async () => await storage.remove('object', stopped), isReason);
    const body = Array.from({ length: 100 }, () => randomBytes(50_000));
    const controller = new AbortController();
    const upload = storage.create('interrupted', body, controller.signal);
    setTimeout(() => {
      controller.abort(reason);
    }, 2);
    const result = await upload.catch((error: unknown) => error);
    assert.ok(result === 'created' || result === reason);
    const stat = await storage.stat('interrupted');
    assert.ok(stat === undefined || stat.sizeBytes === 5_000_000);
    assert.ok((await names(storage, '')).every((name) => name === 'interrupted'));
    // What was asked before the abort may also be done after it.
    const again = await storage.create('interrupted', body);
    assert.ok(again === 'exists' || (again === 'created' && !stat));
    assert.equal((await storage.stat('interrupted'))?.sizeBytes, 5_000_000);
  });

  check('objects staged by another thread', async (storage) => {
    const source = `
      import { parentPort, workerData } from 'node:worker_threads';
      const { stageObject, stagedTransfer } = await import(workerData.module);
      const staged = stageObject(workerData.spec, 'staged/object', [new Uint8Array(70_000).fill(1), Buffer.from('end')]);
      parentPort.postMessage(staged, stagedTransfer(staged));`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
      workerData: {
        module: new URL('../../src/storage/staged-object.ts', import.meta.url).href,
        spec: storage.stageSpec,
      },
    });
    const staged = await new Promise<ReturnType<typeof stageObject>>((resolve, reject) => {
      worker.once('message', resolve).once('error', reject);
    });
    assert.deepEqual(await names(storage, ''), [], 'staged is not stored');
    assert.equal(await storage.createStaged(staged), 'created');
    const expected = Buffer.concat([Buffer.alloc(70_000, 1), Buffer.from('end')]);
    assert.deepEqual(Buffer.from((await storage.read('staged/object'))!), expected);
    const again = stageObject(storage.stageSpec, 'staged/object', text('other'));
    assert.ok(Array.isArray(stagedTransfer(again)));
    assert.equal(await storage.createStaged(again), 'exists');
    assert.deepEqual(await names(storage, ''), ['staged/object']);
  });

  check('a storage that is closed can be closed again', async (storage) => {
    await storage.create('object', text('x'));
    await storage.close();
    await storage.close();
  });
}
