import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testStorage } from '../../../test/support/storage-conformance.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { MemoryStorage } from '../memory/memory-storage.ts';
import type { ByteRange, CreateResult, ObjectStat } from '../storage.ts';
import { TransientError } from '../transient-error.ts';
import { patientRetries, type RetrySettings } from './backoff.ts';
import { RetryingStorage } from './retrying-storage.ts';

type Outcome = 'well' | 'lost-request' | 'lost-reply' | 'refused';

/** Objects in memory, over a line that fails as planned: call after call. */
class FlakyStorage extends MemoryStorage {
  readonly calls: string[] = [];
  plan: Outcome[] = [];
  meanwhile: (() => Promise<void>) | undefined;

  override async create(
    name: string,
    body: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    return await this.#call('create', async () => await super.create(name, body, signal));
  }

  override async read(
    name: string,
    range?: ByteRange,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    return await this.#call('read', async () => await super.read(name, range, signal));
  }

  override async stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    return await this.#call('stat', async () => await super.stat(name, signal));
  }

  override async remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    return await this.#call('remove', async () => await super.remove(name, signal));
  }

  override async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
    this.calls.push('list');
    let count = 0;
    for await (const object of super.list(prefix, signal)) {
      if (count++ === 2 && this.plan.shift() === 'lost-reply') throw lost();
      yield object;
    }
  }

  async #call<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.calls.push(what);
    const outcome = this.plan.shift() ?? 'well';
    if (outcome === 'refused') throw new SalvageError('failed', 'Cannot: permission denied');
    const result = outcome === 'lost-request' ? undefined : await work();
    if (outcome === 'well') return result as T;
    await this.meanwhile?.();
    throw lost();
  }
}

function lost(): SalvageError {
  return new SalvageError('failed', 'Cannot: lost', { cause: new TransientError('connection reset') });
}

/** Time passes only while somebody sleeps. */
function fakeTime(): { settings: RetrySettings; slept: number[] } {
  let nowMs = 0;
  const slept: number[] = [];
  const settings: RetrySettings = {
    ...patientRetries,
    clock: { now: () => new Date(nowMs), monotonicMs: () => nowMs },
    sleep: async (ms, signal) => {
      await Promise.resolve();
      signal?.throwIfAborted();
      slept.push(ms);
      nowMs += ms;
    },
    random: () => 1,
  };
  return { settings, slept };
}

function flaky(...plan: Outcome[]): { inner: FlakyStorage; storage: RetryingStorage; slept: number[] } {
  const inner = new FlakyStorage();
  inner.plan = plan;
  const { settings, slept } = fakeTime();
  return { inner, storage: new RetryingStorage(inner, settings), slept };
}

const body = (text: string): Uint8Array[] => [Buffer.from(text)];

testStorage('memory, retrying', {
  open: async () => {
    const storage = new RetryingStorage(new MemoryStorage(), patientRetries);
    return await Promise.resolve({ storage, second: storage, close: async () => await Promise.resolve() });
  },
});

test('what is lost is asked for again, with growing pauses, until patience ends', async () => {
  const { inner, storage, slept } = flaky(...Array<Outcome>(4).fill('lost-request'));
  assert.equal(await storage.read('object'), undefined);
  assert.deepEqual(slept, [500, 1000, 2000, 4000]);

  inner.plan = Array<Outcome>(1000).fill('lost-request');
  slept.length = 0;
  await assert.rejects(
    async () => await storage.stat('object'),
    (error) => error instanceof SalvageError && error.message === 'Cannot: lost',
  );
  const total = slept.reduce((sum, ms) => sum + ms, 0);
  assert.ok(total <= 300_000 && total > 240_000, `${total} ms`);
  assert.equal(Math.max(...slept), 30_000);
});

test('pauses are spread by chance, and a server that asks for patience gets it', async () => {
  const { settings, slept } = fakeTime();
  const inner = new MemoryStorage();
  let isFirst = true;
  inner.stat = async () => {
    await Promise.resolve();
    if (!isFirst) return undefined;
    isFirst = false;
    throw new SalvageError('failed', 'Cannot: slow down', {
      cause: new TransientError('503', { retryAfterMs: 7000 }),
    });
  };
  await new RetryingStorage(inner, { ...settings, random: () => 0 }).stat('object');
  assert.deepEqual(slept, [7000]);
  isFirst = true;
  const { storage, slept: others } = flaky('lost-request');
  await storage.stat('object');
  assert.deepEqual(others, [500]);
});

test('what a second try cannot mend is not tried again', async () => {
  const { inner, storage, slept } = flaky('refused');
  await assert.rejects(async () => await storage.create('object', body('x')), /permission denied/);
  assert.deepEqual(inner.calls, ['create']);
  assert.deepEqual(slept, []);
});

test('a signal ends the pause', async () => {
  const inner = new FlakyStorage();
  inner.plan = ['lost-request'];
  const controller = new AbortController();
  const reason = new Error('stopped by the test');
  const storage = new RetryingStorage(inner, {
    ...patientRetries,
    firstDelayMs: 60_000,
    longestDelayMs: 60_000,
    onRetry: () => controller.abort(reason),
  });
  await assert.rejects(
    async () => await storage.read('object', undefined, controller.signal),
    (error) => error === reason,
  );
});

test('an own object whose reply was lost is created, not met', async () => {
  const { inner, storage } = flaky('lost-reply');
  assert.equal(await storage.create('object', body('mine')), 'created');
  assert.equal(inner.calls.filter((call) => call === 'create').length, 1, 'it is not sent twice');
});

test('a create that never arrived is sent again', async () => {
  const { inner, storage } = flaky('lost-request', 'lost-request');
  assert.equal(await storage.create('object', body('mine')), 'created');
  assert.deepEqual(inner.calls, ['create', 'stat', 'stat', 'create']);
  assert.deepEqual(await storage.read('object'), new Uint8Array(Buffer.from('mine')));
});

for (const [label, theirs] of [
  ['another size', 'theirs, longer'],
  ['the same size', 'mien'],
] as const)
  test(`somebody else's object of ${label} is not taken for an own one`, async () => {
    const { inner, storage } = flaky('lost-request');
    const other = new MemoryStorage();
    inner.meanwhile = async () => {
      inner.meanwhile = undefined;
      await MemoryStorage.prototype.create.call(inner, 'object', body(theirs));
      await other.close();
    };
    assert.equal(await storage.create('object', body('mine')), 'exists');
    assert.deepEqual(await storage.read('object'), new Uint8Array(Buffer.from(theirs)));
  });

test('where nothing may be read, nothing is claimed', async () => {
  const { inner, storage } = flaky('lost-reply', 'well', 'refused');
  assert.equal(await storage.create('object', body('mine')), 'exists');
  assert.deepEqual(inner.calls, ['create', 'stat', 'read']);
});

test('an object that is large is recognised by its size and its ends', async () => {
  const big = [Buffer.alloc(100_000, 1), Buffer.alloc(3, 2), Buffer.alloc(100_000, 3)];
  const { storage } = flaky('lost-reply');
  assert.equal(await storage.create('object', big), 'created');
});

test('an own removal whose reply was lost has removed', async () => {
  const { inner, storage } = flaky();
  await storage.create('object', body('x'));
  inner.plan = ['lost-reply'];
  assert.equal(await storage.remove('object'), 'removed');
  assert.equal(await storage.remove('object'), 'absent');
});

test('a listing goes on behind what it has given', async () => {
  const { inner, storage } = flaky();
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
  for (const name of names) await storage.create(name, body(name));
  inner.plan = ['lost-reply', 'lost-reply', 'well'];
  const listed: string[] = [];
  for await (const { name } of storage.list('')) listed.push(name);
  assert.deepEqual(listed, names);
  assert.deepEqual(
    inner.calls.filter((call) => call === 'list'),
    ['list', 'list', 'list'],
  );
});

test('a stream is sent again only while none of it is gone', async () => {
  const inner = new MemoryStorage();
  const { settings } = fakeTime();
  const storage = new RetryingStorage(inner, settings);
  const plain = inner.createFromStream.bind(inner);
  async function* parts(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('one ');
    await Promise.resolve();
    yield Buffer.from('two');
  }
  let attempts = 0;
  inner.createFromStream = async (name, stream, signal) => {
    if (++attempts === 1) throw lost();
    return await plain(name, stream, signal);
  };
  assert.equal(await storage.createFromStream('connected-late', parts()), 'created');
  inner.createFromStream = async (_, stream) => {
    for await (const part of stream) if (part.length > 0) throw lost();
    return 'created';
  };
  await assert.rejects(async () => await storage.createFromStream('lost-in-the-middle', parts()), /lost/);
  inner.createFromStream = async (name, stream, signal) => {
    await plain(name, stream, signal);
    throw lost();
  };
  assert.equal(await storage.createFromStream('lost-reply', parts()), 'created');
  inner.createFromStream = async (_, stream) => {
    for await (const part of stream) assert.ok(part.length > 0);
    throw lost();
  };
  await assert.rejects(async () => await storage.createFromStream('lost-at-the-end', parts()), /lost/);
  assert.equal(await storage.stat('lost-at-the-end'), undefined);
});
