// What a storage must do, as checks that run against a real one: `salvage doctor --repo` runs them in a scratch folder of
// the user's storage, and test/support/storage-conformance.ts against every implementation.
import { createHash } from 'node:crypto';
import { concatBytes, equalBytes, utf8Bytes } from '../../bytes/bytes.ts';
import { randomBytes } from '../../clock/random.ts';
import type { ObjectStat, Storage } from '../../storage/storage.ts';

/** Storage does otherwise than it should. The message says what came out. */
export class CheckFailure extends Error {
  override readonly name = 'CheckFailure';
}

export interface CheckBench {
  /** An empty storage, and another client's view of the same. */
  readonly storage: Storage;
  readonly second: Storage;
  /** Size of the largest object that is tried. */
  readonly bigBytes: number;
  /** How many objects are listed at once. */
  readonly manyObjects: number;
}

export interface StorageCheck {
  /** For JSON. */
  readonly id: string;
  /** What is so where the check passes. */
  readonly title: string;
  /** True if backups rest on it; else it is good to know. */
  readonly isNeeded: boolean;
  /** True if it reads what it has stored, which not every account may. */
  readonly reads: boolean;
  /** @throws CheckFailure if it is not so; what the storage throws. Returns what else there is to say. */
  run(bench: CheckBench): Promise<string | void>;
}

export const storageChecks: readonly StorageCheck[] = [
  {
    id: 'create',
    title: 'what is created can be read, looked at and listed, by others too',
    isNeeded: true,
    reads: true,
    async run({ storage, second }) {
      const name = 'packs/aa/object.age';
      const body = [utf8Bytes('one '), new Uint8Array(0), utf8Bytes('two')];
      is(await storage.create(name, body), 'created', 'a new object');
      await storage.settle();
      for (const client of [storage, second]) {
        sameBytes(await client.read(name), utf8Bytes('one two'), 'what is read');
        const stat = await client.stat(name);
        is(stat?.name, name, 'the name that is told');
        is(stat?.sizeBytes, 7, 'the size that is told');
        sameNames(await names(client, ''), [name]);
      }
    },
  },
  {
    id: 'absent',
    title: 'what is not there is told as absent, not as an error',
    isNeeded: true,
    reads: true,
    async run({ storage }) {
      is(await storage.read('absent'), undefined, 'reading what is absent');
      is(await storage.read('a/b/absent', { offset: 5, length: 5 }), undefined, 'reading what is absent');
      is(await storage.stat('absent'), undefined, 'looking at what is absent');
      sameNames(await names(storage, ''), []);
      sameNames(await names(storage, 'no/such/'), []);
      if (storage.capabilities.remove)
        is(await storage.remove('a/absent'), 'absent', 'removing what is absent');
      await storage.create('file', [utf8Bytes('x')]);
      is(await storage.read('file/below'), undefined, 'reading below an object');
      is(await storage.stat('file/below'), undefined, 'looking below an object');
    },
  },
  {
    id: 'no-overwrite',
    title: 'an object that is there is never rewritten',
    isNeeded: true,
    reads: true,
    async run({ storage, second }) {
      is(await storage.create('object', [utf8Bytes('first')]), 'created', 'a new object');
      is(await storage.create('object', [utf8Bytes('second')]), 'exists', 'the same name again');
      is(await second.create('object', [utf8Bytes('third, longer')]), 'exists', 'the same name by another');
      sameBytes(await storage.read('object'), utf8Bytes('first'), 'what is read');
    },
  },
  {
    id: 'race',
    title: 'ten writers that race for a name leave one content, whole',
    isNeeded: true,
    reads: true,
    async run({ storage, second }) {
      const bodies = Array.from({ length: 10 }, (_, index) => [
        new Uint8Array(100_000).fill(index + 1),
        Uint8Array.of(index),
      ]);
      const results = await Promise.all(
        bodies.map(async (body, index) => await (index % 2 ? storage : second).create('race/object', body)),
      );
      const created = results.filter((result) => result === 'created').length;
      const stored = await storage.read('race/object');
      const winner = bodies.findIndex((body) => stored && equalBytes(stored, concatBytes(body)));
      if (winner < 0) throw new CheckFailure('the content is nobody’s');
      sameNames(await names(storage, ''), ['race/object']);
      if (!storage.capabilities.exclusiveCreate)
        return created === 1
          ? 'one was told that it created it; that is not certain here, nor needed'
          : `${created} were told that they created it, which does no harm`;
      is(created, 1, 'writers that were told that they created it');
      is(results[winner], 'created', 'the writer of the content');
      return 'exactly one is told that it created it';
    },
  },
  {
    id: 'ranges',
    title: 'ranges are exact, and end where the object does',
    isNeeded: true,
    reads: true,
    async run({ storage }) {
      const bytes = randomBytes(200_000);
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
        sameBytes(
          await storage.read('ranged', { offset, length }),
          bytes.subarray(offset, offset + length),
          `${length} bytes at ${offset}`,
        );
    },
  },
  {
    id: 'empty',
    title: 'an empty object is one',
    isNeeded: true,
    reads: true,
    async run({ storage }) {
      is(await storage.create('empty', []), 'created', 'an empty object');
      is((await storage.stat('empty'))?.sizeBytes, 0, 'its size');
      sameBytes(await storage.read('empty'), new Uint8Array(0), 'what is read');
      is(await storage.create('empty', [utf8Bytes('x')]), 'exists', 'the same name again');
    },
  },
  {
    id: 'big',
    title: 'big objects come back as they were',
    isNeeded: true,
    reads: true,
    async run({ storage, bigBytes }) {
      const part = randomBytes(61_001);
      const body = Array.from({ length: Math.ceil(bigBytes / part.length) }, () => part);
      is(await storage.create('big', body), 'created', 'a big object');
      const expected = createHash('sha256');
      for (const each of body) expected.update(each);
      const found = createHash('sha256');
      const step = 8 * 1024 * 1024;
      for (let offset = 0; offset < part.length * body.length; offset += step)
        found.update((await storage.read('big', { offset, length: step })) ?? new Uint8Array(0));
      is(found.digest('hex'), expected.digest('hex'), 'the SHA-256 of what is read');
    },
  },
  {
    id: 'order',
    title: 'names are listed in order, by any prefix',
    isNeeded: true,
    reads: true,
    async run({ storage }) {
      const expected = ['a-b', 'a.b/x', 'a/c/d', 'a1', 'a2/b-c/d', 'a2/b.c', 'aa', 'b/Y', 'b/Z', 'b/a'];
      for (const name of expected.toReversed()) await storage.create(name, [utf8Bytes(name)]);
      sameNames(await names(storage, ''), expected);
      for (const prefix of ['a', 'a/', 'a2/b', 'a2/b-', 'b/', 'b/a', 'c', 'a/c/d'])
        sameNames(
          await names(storage, prefix),
          expected.filter((name) => name.startsWith(prefix)),
        );
    },
  },
  {
    id: 'many',
    title: 'a listing of many objects is complete, with their sizes',
    isNeeded: true,
    reads: false,
    async run({ storage, manyObjects }) {
      const name = (index: number): string => `packs/${index % 16}/${String(index).padStart(5, '0')}`;
      await Promise.all(
        Array.from({ length: manyObjects }, async (_, index) => {
          await storage.create(name(index), [new Uint8Array(index)]);
        }),
      );
      let listed = 0;
      for await (const stat of storage.list('packs/')) {
        is(stat.sizeBytes, Number(stat.name.slice(-5)), `the size of ${stat.name}`);
        listed++;
      }
      is(listed, manyObjects, 'objects listed');
      return `${manyObjects} objects`;
    },
  },
  {
    id: 'long-names',
    title: 'names may be long and have dots and dashes',
    isNeeded: true,
    reads: true,
    async run({ storage }) {
      const name = `snapshots/00000001-20261123T112804Z-508a887c/SHA256SUMS.sig-${'x'.repeat(120)}`;
      await storage.create(name, [utf8Bytes('x')]);
      sameNames(await names(storage, ''), [name]);
      sameBytes(await storage.read(name), utf8Bytes('x'), 'what is read');
    },
  },
  {
    id: 'case',
    title: 'names that differ only in upper and lower case are two',
    isNeeded: false,
    reads: false,
    async run({ storage }) {
      is(await storage.create('b/object', [utf8Bytes('lower')]), 'created', 'a new object');
      is(await storage.create('b/OBJECT', [utf8Bytes('UPPER')]), 'created', 'its name in capitals');
      sameNames(await names(storage, ''), ['b/OBJECT', 'b/object']);
    },
  },
  {
    id: 'streams',
    title: 'a stream becomes an object whole or not at all',
    isNeeded: true,
    reads: true,
    async run({ storage, second }) {
      const part = randomBytes(300_000);
      async function* parts(count: number, failure?: Error): AsyncGenerator<Uint8Array> {
        for (let index = 0; index < count; index++) {
          yield part;
          await Promise.resolve();
        }
        if (failure) throw failure;
      }
      const whole = concatBytes(Array.from({ length: 10 }, () => part));
      is(await storage.createFromStream('archives/one.age', parts(10)), 'created', 'a stream');
      sameBytes(await second.read('archives/one.age'), whole, 'what is read');
      is(await second.createFromStream('archives/one.age', parts(1)), 'exists', 'the same name again');
      is((await storage.stat('archives/one.age'))?.sizeBytes, whole.length, 'its size');
      is(await storage.createFromStream('archives/empty', parts(0)), 'created', 'a stream without bytes');
      is((await storage.stat('archives/empty'))?.sizeBytes, 0, 'its size');
      const failure = new Error('broken off on purpose');
      const told = await storage.createFromStream('archives/two.age', parts(10, failure)).then(
        () => undefined,
        (error: unknown) => String(error),
      );
      if (!told?.includes(failure.message)) throw new CheckFailure(`a stream that broke off: ${told}`);
      is(await storage.stat('archives/two.age'), undefined, 'looking at what broke off');
      sameNames(await names(storage, ''), ['archives/empty', 'archives/one.age']);
    },
  },
];

async function names(storage: Storage, prefix: string): Promise<string[]> {
  const all: ObjectStat[] = await Array.fromAsync(storage.list(prefix));
  return all.map(({ name }) => name);
}

function is(
  found: string | number | undefined | object,
  expected: string | number | undefined,
  what: string,
): void {
  if (found !== expected) throw new CheckFailure(`${what}: ${show(found)}, not ${show(expected)}`);
}

function show(value: string | number | undefined | object): string {
  if (value === undefined) return 'absent';
  return typeof value === 'object' ? 'present' : String(value);
}

function sameBytes(found: Uint8Array | undefined, expected: Uint8Array, what: string): void {
  if (!found || !equalBytes(found, expected))
    throw new CheckFailure(
      `${what}: ${found ? `${found.length} bytes` : 'nothing'}, not the ${expected.length} bytes that were stored`,
    );
}

function sameNames(found: readonly string[], expected: readonly string[]): void {
  if (found.join('\n') === expected.join('\n')) return;
  throw new CheckFailure(`listed are ${shorten(found)}, not ${shorten(expected)}`);
}

function shorten(list: readonly string[]): string {
  const shown = list.slice(0, 12).join(' ');
  return list.length === 0 ? 'none' : list.length > 12 ? `${shown} … (${list.length})` : shown;
}
