import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { TestJob } from '../../../test/support/pool-thread.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { MemoryStorage } from '../../storage/memory/memory-storage.ts';
import type { Storage } from '../../storage/storage.ts';
import { WorkerPool, type PoolThread, type WorkerPoolOptions } from './worker-pool.ts';

type TestPool = WorkerPool<TestJob, string, string, string>;

function openPool(options: Partial<WorkerPoolOptions<string, string>> = {}): TestPool & {
  readonly started: PoolThread<string>[];
} {
  const started: PoolThread<string>[] = [];
  const module = new URL('../../../test/support/pool-thread.ts', import.meta.url);
  const pool = new WorkerPool<TestJob, string, string, string>({
    module,
    threads: 2,
    settings: 'here:',
    onStart: (thread) => started.push(thread),
    ...options,
  });
  return Object.assign(pool, { started });
}

describe('a pool of worker threads', () => {
  test('starts threads when there is something to do, and answers in order', async () => {
    await using pool = openPool({ threads: 3 });
    assert.equal(pool.started.length, 0);
    assert.equal(await pool.run({ kind: 'echo', text: 'first' }), 'here: first');
    assert.equal(await pool.run({ kind: 'echo', text: 'second' }), 'here: second');
    assert.equal(pool.started.length, 1, 'an idle thread is taken before another one is started');
    const texts = Array.from({ length: 20 }, (_, index) => String(index));
    const answers = await Promise.all(texts.map((text) => pool.run({ kind: 'echo', text })));
    assert.deepEqual(
      answers,
      texts.map((text) => `here: ${text}`),
    );
    assert.equal(pool.started.length, 3);
    assert.deepEqual(await pool.runOnEach({ kind: 'echo', text: 'all' }), Array(3).fill('here: all'));
  });

  test('has room for one job in work and one that waits, in each thread', async () => {
    await using pool = openPool();
    for (let count = 0; count < 4; count++) {
      await pool.ready();
      pool.run({ kind: 'take', wanted: 'go' });
    }
    let isReady = false;
    const ready = pool.ready().then(() => (isReady = true));
    await setImmediate();
    assert.equal(isReady, false);
    pool.started[1]!.supply('go');
    await ready;
  });

  test('lets a supply wait for the job that wants it', async () => {
    const notices: string[] = [];
    await using pool = openPool({ threads: 1, onNotice: (notice) => notices.push(notice) });
    const answers = ['a', 'b', 'c'].map((wanted) => pool.run({ kind: 'take', wanted }));
    for (const supply of ['c', 'b', 'a']) pool.started[0]!.supply(supply);
    assert.deepEqual(await Promise.all(answers), ['here: a', 'here: b', 'here: c']);
    assert.deepEqual(notices, ['took a', 'took b', 'took c']);
  });

  test('reads objects for its threads', async () => {
    const storage = new MemoryStorage();
    await storage.create('name', [Buffer.from('content')]);
    await using pool = openPool({ storage });
    assert.equal(await pool.run({ kind: 'read', name: 'name' }), 'here: content');
    await assert.rejects(pool.run({ kind: 'read', name: 'other' }), { code: 'damaged' });
  });

  test('keeps what a failure says, and ends everything that is waited for', async () => {
    await using pool = openPool();
    const waiting = pool.run({ kind: 'take', wanted: 'never' });
    const failed = pool.run({ kind: 'fail' });
    await assert.rejects(failed, (error) => {
      assert.ok(error instanceof SalvageError);
      const { code, message, hint, details } = error;
      assert.deepEqual(
        { code, message, hint, details },
        { code: 'damaged', message: 'Cannot do it', hint: 'Leave it.', details: { object: 'it' } },
      );
      return true;
    });
    const same = { message: 'Cannot do it' };
    await assert.rejects(waiting, same);
    await assert.rejects(pool.ready(), same);
    await assert.rejects(pool.run({ kind: 'echo', text: 'too late' }), same);
    await assert.rejects(pool.runOnEach({ kind: 'echo', text: 'too late' }), same);
    await assert.rejects(pool.orFailure(new Promise(() => {})), same);
    assert.ok(pool.hasFailed);
  });

  test('tells where a bug is', async () => {
    await using pool = openPool();
    await assert.rejects(pool.run({ kind: 'bug' }), ({ stack }: Error) =>
      /a bug[^]+pool-thread/.test(stack!),
    );
  });

  test('fails when a thread ends before its work', async () => {
    await using pool = openPool();
    await assert.rejects(pool.run({ kind: 'exit' }), /ended before its work/);
  });

  test('ends with the reason of its signal', async () => {
    const controller = new AbortController();
    await using pool = openPool({ signal: controller.signal });
    const waiting = pool.run({ kind: 'take', wanted: 'never' });
    controller.abort(new Error('enough'));
    await assert.rejects(waiting, /enough/);
    await using late = openPool({ signal: controller.signal });
    await assert.rejects(late.ready(), /enough/);
  });

  test('ends threads that sleep until a job, a supply or an object comes', async () => {
    const asked = Promise.withResolvers<void>();
    const storage = {
      objectsFolder: undefined,
      read: () => {
        asked.resolve();
        return new Promise(() => {});
      },
    } as unknown as Storage;
    const pool = openPool({ threads: 3, storage });
    await Promise.all([
      pool.run({ kind: 'echo', text: '' }),
      pool.run({ kind: 'echo', text: '' }),
      pool.run({ kind: 'echo', text: '' }),
    ]);
    pool.run({ kind: 'take', wanted: 'never' });
    pool.run({ kind: 'read', name: 'name' });
    await asked.promise;
    await pool[Symbol.asyncDispose]();
  });
});
