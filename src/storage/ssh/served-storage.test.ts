import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { servePair } from '../../../test/support/serve-pair.ts';
import { testStorage } from '../../../test/support/storage-conformance.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { LocalStorage } from '../local/local-storage.ts';
import { MemoryStorage } from '../memory/memory-storage.ts';
import type { Served } from '../serve/served.ts';
import type { Storage } from '../storage.ts';

function everything(storage: Storage, largestObjectBytes?: number): Served {
  return {
    storage,
    rights: {
      mayCreate: () => true,
      mayRead: () => true,
      mayRemove: true,
      largestBytes: () => Infinity,
      expectedDigest: () => undefined,
    },
    largestObjectBytes,
    close: async () => {},
  };
}

testStorage('served in this process', {
  open: async () => {
    const folder = mkdtempSync(join(tmpdir(), 'salvage-served-'));
    const open = async (): Promise<Served> =>
      await Promise.resolve(everything(new LocalStorage(join(folder, 'repo'))));
    const { storage } = await servePair(open);
    const { storage: second } = await servePair(open);
    return {
      storage,
      second,
      async close() {
        await storage.close();
        await second.close();
        rmSync(folder, { recursive: true, force: true });
      },
    };
  },
});

test('a listing of many pages, and one that is left early', async () => {
  const memory = new MemoryStorage();
  const names = Array.from({ length: 3000 }, (_, index) => `packs/${String(index).padStart(60, '0')}`);
  for (const name of names) await memory.create(name, []);
  const { storage } = await servePair(async () => await Promise.resolve(everything(memory)));
  const listed: string[] = [];
  for await (const { name } of storage.list('packs/')) listed.push(name);
  assert.deepEqual(listed, names);
  for (let round = 0; round < 40; round++)
    for await (const { name } of storage.list('')) {
      assert.equal(name, names[0]);
      break;
    }
  assert.equal((await storage.stat(names[5]!))?.sizeBytes, 0);
  await storage.close();
});

test('what is larger than the server takes is refused, and the connection goes on', async () => {
  const memory = new MemoryStorage();
  const { storage } = await servePair(async () => await Promise.resolve(everything(memory, 1_000_000)));
  const part = Buffer.alloc(300_000);
  await assert.rejects(
    async () => await storage.create('large', [part, part, part, part]),
    /may have 1000000 bytes/,
  );
  await assert.rejects(
    async () =>
      await storage.createFromStream(
        'large',
        (async function* () {
          for (let count = 0; count < 100; count++) yield await Promise.resolve(part);
        })(),
      ),
    /may have 1000000 bytes/,
  );
  assert.equal(await storage.create('fits', [part, part, part]), 'created');
  assert.equal(await storage.stat('large'), undefined);
  await storage.close();
});

test('many large objects at a time', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-served-'));
  try {
    const { storage } = await servePair(
      async () => await Promise.resolve(everything(new LocalStorage(folder))),
    );
    const bodies = Array.from({ length: 30 }, (_, index) => Buffer.alloc(1_500_000, index + 1));
    await Promise.all(bodies.map(async (body, index) => await storage.create(`o/${index}`, [body])));
    const read = await Promise.all(bodies.map(async (_, index) => await storage.read(`o/${index}`)));
    for (const [index, bytes] of read.entries()) assert.ok(bodies[index]!.equals(bytes!));
    await storage.close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a connection that is cut fails what is under way, leaves no part of it, and is made anew by the next call', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-served-'));
  try {
    const pair = await servePair(async () => await Promise.resolve(everything(new LocalStorage(folder))));
    const { storage } = pair;
    assert.equal(await storage.create('before', [Buffer.from('x')]), 'created');
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(100_000);
      pair.cut();
      await new Promise(() => {});
    };
    const reading = storage.read('before');
    const uploading = storage.createFromStream('never', endless());
    await Promise.all([
      reading.catch((error: unknown) => assert.ok(error instanceof SalvageError)),
      assert.rejects(uploading, (error) => error instanceof SalvageError && /was cut/.test(error.message)),
    ]);
    assert.equal(Buffer.from((await storage.read('before'))!).toString(), 'x');
    assert.equal(pair.connections(), 2);
    assert.equal(await storage.stat('never'), undefined);
    await storage.close();
    assert.deepEqual(
      readdirSync(folder).filter((name) => name !== '.incoming'),
      ['before'],
    );
    assert.deepEqual(readdirSync(join(folder, '.incoming')), []);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
