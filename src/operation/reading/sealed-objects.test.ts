import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CountingStorage } from '../../../test/support/counting-storage.ts';
import { createEnvelope } from '../../age/envelope.ts';
import { generateIdentity } from '../../age/generate.ts';
import type { Identity } from '../../age/recipient.ts';
import type { Stanza } from '../../age/stanza.ts';
import { toHex } from '../../bytes/bytes.ts';
import { MemoryStorage } from '../../storage/memory/memory-storage.ts';
import { SealedObjects } from './sealed-objects.ts';

const native = generateIdentity();

/** Opens what `native` opens, as a plugin would that wants to know of all files beforehand. */
class Planner implements Identity {
  readonly interactive = true;
  readonly announced: (readonly Stanza[])[][] = [];

  expectFiles(files: readonly (readonly Stanza[])[]): void {
    this.announced.push([...files]);
  }

  unwrapFileKey(stanzas: readonly Stanza[]): Uint8Array | undefined {
    return native.unwrapFileKey(stanzas);
  }
}

const countReads = ({ requests }: CountingStorage): number =>
  requests.filter((request) => request.startsWith('read')).length;

async function storeObjects(count: number): Promise<{ storage: CountingStorage; keys: Map<string, string> }> {
  const storage = new CountingStorage(new MemoryStorage());
  const keys = new Map<string, string>();
  for (let number = 0; number < count; number++) {
    const { header, fileKey } = await createEnvelope([native.recipient]);
    const name = `packs/${number}`;
    await storage.create(name, [header, new Uint8Array(100)]);
    keys.set(name, toHex(fileKey));
  }
  return { storage, keys };
}

test('all that is expected is announced at the first opening, and read once', async () => {
  const { storage, keys } = await storeObjects(20);
  await storage.create('packs/garbage', [new Uint8Array(500)]);
  const planner = new Planner();
  const objects = new SealedObjects(storage, [planner]);
  objects.expect([...keys.keys(), 'packs/garbage', 'packs/missing']);
  assert.deepEqual([planner.announced.length, countReads(storage)], [0, 0]);
  const opened = await Promise.all([...keys.keys()].map((name) => objects.open(name)));
  assert.deepEqual(
    opened.map(({ fileKey }) => toHex(fileKey)),
    [...keys.values()],
  );
  assert.deepEqual(
    planner.announced.map((files) => files.length),
    [20],
  );
  assert.equal(countReads(storage), 22);
  for (const name of ['packs/garbage', 'packs/missing'])
    await assert.rejects(objects.open(name), { code: 'damaged' });
});

test('many are announced in parts, and what was not expected is opened all the same', async () => {
  const { storage, keys } = await storeObjects(530);
  const planner = new Planner();
  const objects = new SealedObjects(storage, [planner]);
  const [stranger, ...expected] = [...keys.keys()];
  objects.expect(expected);
  assert.equal(toHex((await objects.open(stranger!)).fileKey), keys.get(stranger!));
  assert.equal(planner.announced.length, 0);
  for (const name of expected) assert.equal(toHex((await objects.open(name)).fileKey), keys.get(name));
  assert.deepEqual(
    planner.announced.map((files) => files.length),
    [512, 17],
  );
});

test('for identities that ask nobody nothing is read beforehand', async () => {
  const { storage, keys } = await storeObjects(3);
  const objects = new SealedObjects(storage, [native]);
  objects.expect(keys.keys());
  await objects.open('packs/0');
  assert.equal(countReads(storage), 1);
});
