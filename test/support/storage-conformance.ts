// What every storage must do, whatever it is: run with `testStorage` from the test of each implementation.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { concatBytes } from '../../src/bytes/bytes.ts';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { stageObject, stagedTransfer } from '../../src/storage/staged-object.ts';
import type { ObjectStat, Storage } from '../../src/storage/storage.ts';

export interface StorageUnderTest {
  /** An empty storage. Several instances on the same place are several clients. */
  open(): Promise<{ storage: Storage; second: Storage; close: () => Promise<void> }>;
  /** Size of the largest object that is tried. Default 20 MiB. */
  readonly bigBytes?: number;
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

  check('what is created can be read, looked at and listed', async (storage, second) => {
    const body = [Buffer.from('one '), Buffer.alloc(0), Buffer.from('two')];
    assert.equal(await storage.create('packs/aa/object.age', body), 'created');
    await storage.settle();
    for (const client of [storage, second]) {
      assert.deepEqual(await client.read('packs/aa/object.age'), new Uint8Array(Buffer.from('one two')));
      const stat = await client.stat('packs/aa/object.age');
      assert.equal(stat?.sizeBytes, 7);
      assert.equal(stat.name, 'packs/aa/object.age');
      const { receivedAt } = stat;
      assert.ok(receivedAt === undefined || Math.abs(receivedAt.getTime() - Date.now()) < 86_400_000);
      assert.deepEqual(await names(client, ''), ['packs/aa/object.age']);
    }
  });

  check('what is not there is a value', async (storage) => {
    assert.equal(await storage.read('absent'), undefined);
    assert.equal(await storage.read('a/b/absent', { offset: 5, length: 5 }), undefined);
    assert.equal(await storage.stat('absent'), undefined);
    assert.deepEqual(await names(storage, ''), []);
    assert.deepEqual(await names(storage, 'no/such/'), []);
    if (storage.capabilities.remove) assert.equal(await storage.remove('a/absent'), 'absent');
    await storage.create('file', text('x'));
    assert.equal(await storage.read('file/below'), undefined);
    assert.equal(await storage.stat('file/below'), undefined);
  });

  check('an object is never rewritten', async (storage, second) => {
    assert.equal(await storage.create('object', text('first')), 'created');
    assert.equal(await storage.create('object', text('second')), 'exists');
    assert.equal(await second.create('object', text('third, longer')), 'exists');
    assert.deepEqual(await storage.read('object'), new Uint8Array(Buffer.from('first')));
  });

  check('of ten racing writers one creates, and its content is there whole', async (storage, second) => {
    const bodies = Array.from({ length: 10 }, (_, index) => [
      Buffer.alloc(100_000, index + 1),
      Buffer.from([index]),
    ]);
    const results = await Promise.all(
      bodies.map(async (body, index) => await (index % 2 ? storage : second).create('race/object', body)),
    );
    if (storage.capabilities.exclusiveCreate)
      assert.equal(results.filter((result) => result === 'created').length, 1);
    const stored = await storage.read('race/object');
    const winner = bodies.findIndex((body) => Buffer.from(stored!).equals(concatBytes(body)));
    assert.ok(winner >= 0, 'the content is that of one writer');
    if (storage.capabilities.exclusiveCreate) assert.equal(results[winner], 'created');
    assert.deepEqual(await names(storage, ''), ['race/object']);
  });

  check('ranges are exact, and end where the object does', async (storage) => {
    const bytes = new Uint8Array(randomBytes(200_000));
    await storage.create('ranged', [bytes]);
    for (const [offset, length] of [
      [0, 1],
      [0, 200_000],
      [1, 65_536],
      [199_999, 1],
      [199_999, 10],
      [200_000, 1],
      [300_000, 5],
      [50_000, 0],
    ] as const)
      assert.deepEqual(
        await storage.read('ranged', { offset, length }),
        bytes.slice(offset, offset + length),
        `range ${offset}+${length}`,
      );
  });

  check('an empty object and one without parts', async (storage) => {
    assert.equal(await storage.create('empty', []), 'created');
    assert.equal((await storage.stat('empty'))?.sizeBytes, 0);
    assert.deepEqual(await storage.read('empty'), new Uint8Array(0));
    assert.equal(await storage.create('empty', text('x')), 'exists');
  });

  check('big objects of many parts', async (storage) => {
    const part = randomBytes(61_001);
    const count = Math.ceil((subject.bigBytes ?? 20 * 1024 * 1024) / part.length);
    const body = Array.from({ length: count }, () => part);
    assert.equal(await storage.create('big', body), 'created');
    const hash = createHash('sha256');
    const expected = createHash('sha256').update(concatBytes(body)).digest('hex');
    for (let offset = 0; offset < part.length * count; offset += 8 << 20)
      hash.update((await storage.read('big', { offset, length: 8 << 20 }))!);
    assert.equal(hash.digest('hex'), expected);
  });

  check('names are listed in byte order, by any prefix', async (storage) => {
    for (const name of ['b/a', 'a/c/d', 'a-b', 'b/Z', 'a.b/x', 'a1', 'b/A', 'a2/b-c/d', 'a2/b.c', 'aa'])
      await storage.create(name, text(name));
    const expected = ['a-b', 'a.b/x', 'a/c/d', 'a1', 'a2/b-c/d', 'a2/b.c', 'aa', 'b/A', 'b/Z', 'b/a'];
    assert.deepEqual(await names(storage, ''), expected);
    for (const prefix of ['a', 'a/', 'a2/b', 'a2/b-', 'b/', 'b/a', 'c', 'a/c/d'])
      assert.deepEqual(
        await names(storage, prefix),
        expected.filter((name) => name.startsWith(prefix)),
        `prefix ${prefix}`,
      );
  });

  check('a listing of many objects, with their sizes', async (storage) => {
    const count = 300;
    const name = (index: number): string => `packs/${String(index % 16)}/${String(index).padStart(5, '0')}`;
    await Promise.all(
      Array.from(
        { length: count },
        async (_, index) => await storage.create(name(index), [Buffer.alloc(index)]),
      ),
    );
    const listed = await collect(storage.list('packs/'));
    assert.equal(listed.length, count);
    for (const { name, sizeBytes } of listed) assert.equal(sizeBytes, Number(name.slice(-5)));
  });

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
    assert.equal(await storage.create('interrupted', body), stat ? 'exists' : 'created');
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

  check('a stream becomes an object whole or not at all', async (storage, second) => {
    const part = randomBytes(300_000);
    async function* parts(count: number, failure?: Error): AsyncGenerator<Uint8Array> {
      for (let index = 0; index < count; index++) {
        yield part;
        await Promise.resolve();
      }
      if (failure) throw failure;
    }
    assert.equal(await storage.createFromStream('archives/one.age', parts(40)), 'created');
    const stored = Buffer.from((await second.read('archives/one.age'))!);
    assert.ok(stored.equals(Buffer.concat(Array.from({ length: 40 }, () => part))));
    assert.equal(await second.createFromStream('archives/one.age', parts(1)), 'exists');
    assert.equal((await storage.stat('archives/one.age'))?.sizeBytes, 40 * part.length);
    assert.equal(await storage.createFromStream('archives/empty', parts(0)), 'created');
    assert.equal((await storage.stat('archives/empty'))?.sizeBytes, 0);
    await assert.rejects(
      async () => await storage.createFromStream('archives/two.age', parts(40, new Error('no more'))),
      /no more/,
    );
    assert.equal(await storage.stat('archives/two.age'), undefined);
    assert.deepEqual(await names(storage, ''), ['archives/empty', 'archives/one.age']);
  });

  check('a storage that is closed can be closed again', async (storage) => {
    await storage.create('object', text('x'));
    await storage.close();
    await storage.close();
  });
}
