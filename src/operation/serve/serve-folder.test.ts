import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { servePair, type ServePair } from '../../../test/support/serve-pair.ts';
import { openServedFolder } from './serve-folder.ts';

const twoDaysAgo = new Date(Date.now() - 2 * 86_400_000);

interface Place {
  /** Where uploads are while they are unfinished. */
  readonly incoming: string;
  readonly connect: () => Promise<ServePair['storage']>;
}

function prepare(t: TestContext): Place {
  const root = mkdtempSync(join(tmpdir(), 'salvage-serve-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const incoming = join(root, '.incoming');
  mkdirSync(incoming);
  const open = openServedFolder.bind(undefined, { root, mode: 'append-only', connections: 4 });
  return { incoming, connect: async () => (await servePair(open)).storage };
}

test('whoever comes alone clears up what nobody has touched for a day', async (t) => {
  const { incoming, connect } = prepare(t);
  for (const name of ['old', 'young']) writeFileSync(join(incoming, name), name);
  utimesSync(join(incoming, 'old'), twoDaysAgo, twoDaysAgo);
  const storage = await connect();
  assert.deepEqual(readdirSync(incoming), ['young']);
  await storage.close();
});

test('nobody can have an upload taken away that is under way, however slow it is', async (t) => {
  const { incoming, connect } = prepare(t);
  const slow = await connect();
  const { promise: goOn, resolve } = Promise.withResolvers<void>();
  async function* body(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('the first half, ');
    await goOn;
    yield Buffer.from('and the other');
  }
  const created = slow.createFromStream('slow.age', body());
  while (readdirSync(incoming).length === 0) await new Promise((resolve) => setImmediate(resolve));
  const path = join(incoming, readdirSync(incoming)[0]!);
  utimesSync(path, twoDaysAgo, twoDaysAgo);
  const other = await connect();
  await other.close();
  resolve();
  assert.equal(await created, 'created');
  assert.deepEqual(readdirSync(incoming), []);
  await slow.close();
});
