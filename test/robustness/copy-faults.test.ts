// A fault at any call to either storage of a copy: what is there afterwards is whole or not there at all, and the next
// run ends the work without carrying again what is there.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { before, describe, test } from 'node:test';
import * as fc from 'fast-check';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { copy, type CopyResult } from '../../src/operation/copy/copy.ts';
import { listSnapshots, readRepositoryJson } from '../../src/operation/open-repository.ts';
import { readSignedSnapshot, readSnapshotJson } from '../../src/operation/reading/signed-snapshot.ts';
import type { ObjectDigest } from '../../src/repository/ids.ts';
import { indexName, packName, roleOf, snapshotFileName } from '../../src/repository/layout.ts';
import { MemoryStorage } from '../../src/storage/memory/memory-storage.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { CountingStorage } from '../support/counting-storage.ts';
import { FaultyStorage, type Fault, type FaultPlan } from '../support/faulty-storage.ts';
import { handMadePrincipal, HandMadeRepository, type HandMadeFile } from '../support/hand-made-repository.ts';

const snapshots = 3;
let repository: HandMadeRepository;

before(async () => {
  repository = await HandMadeRepository.create(new MemoryStorage());
  const files = ['a', 'b', 'c', 'd'].map((name) => fileOf(name));
  for (let number = 0; number < snapshots; number++)
    await repository.snapshot(files.slice(number, number + 2), { packPerFile: true });
});

function fileOf(name: string): HandMadeFile {
  const content = randomBytes(3000);
  const facts = { type: 'file', mode: 0o644, uid: 0, gid: 0, user: '', group: '', mtimeNs: 0n } as const;
  return { entry: { path: Buffer.from(name), ...facts, size: content.length }, content };
}

async function run(source: Storage, target: Storage, signal?: AbortSignal): Promise<CopyResult> {
  const trusted = { allowedSigners: repository.allowedSigners, principal: handMadePrincipal };
  const observer = {
    onTrouble: () => {},
    onNotice: () => {},
    onTotal: () => {},
    onProgress: () => {},
    onSnapshot: () => {},
  };
  return await copy({ source, target, trusted }, observer, signal);
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Packs and index objects that are what their names say. */
async function wholeObjects(storage: Storage): Promise<Set<string>> {
  const whole = new Set<string>();
  for await (const { name } of storage.list('')) {
    const role = roleOf(name);
    if (role?.kind !== 'pack' && role?.kind !== 'index') continue;
    if (sha256((await storage.read(name))!) === role.id) whole.add(name);
  }
  return whole;
}

/** How many snapshots there are. Fails unless each has a good signature and all that it needs. */
async function countWhole(storage: Storage): Promise<number> {
  const whole = await wholeObjects(storage);
  const { committed } = await listSnapshots(storage);
  const trusted = { allowedSigners: repository.allowedSigners, principal: handMadePrincipal };
  let before: { readonly sequence: number; readonly digest: ObjectDigest } | undefined;
  for (const { id } of committed) {
    const signed = await readSignedSnapshot(storage, id, trusted, new Date());
    const { sequence, previous } = await readSnapshotJson(storage, signed);
    const { root, packs, indexes } = signed.checksums;
    assert.equal(sha256((await storage.read(snapshotFileName(id, 'root.age')))!), root);
    for (const name of [...packs.map(packName), ...indexes.map(indexName)]) assert.ok(whole.has(name), name);
    if (before?.sequence === sequence - 1) assert.equal(previous, before.digest);
    before = { sequence, digest: signed.digest };
  }
  return committed.length;
}

type Side = 'source' | 'target';
type Disturbance = Fault | 'stopped';

async function disturb(side: Side, disturbance: Disturbance, at: number, ofObject = false): Promise<void> {
  const what = `${disturbance} at call ${at} of the ${side}`;
  const target = new MemoryStorage();
  const stop = new AbortController();
  let hit = '';
  const plan: FaultPlan = (index, call, name) => {
    if (index !== at) return undefined;
    hit = `${call} ${name}`;
    if (disturbance !== 'stopped') return disturbance;
    stop.abort(new SalvageError('interrupted', 'Interrupted'));
    return undefined;
  };
  const options = { plan, timeoutMs: 50, ofObject };
  const source = side === 'source' ? new FaultyStorage(repository.storage, options) : repository.storage;
  const disturbed = side === 'target' ? new FaultyStorage(target, options) : target;
  try {
    const { troubles } = await run(source, disturbed, stop.signal);
    // Half of nothing is nothing; and who is stopped at the last step has done it all.
    const isComplete = (await countWhole(target)) === snapshots;
    assert.ok(troubles.length > 0 || (isComplete && ['short', 'stopped'].includes(disturbance)), what);
  } catch (error) {
    assert.ok(error instanceof SalvageError, `${what}: ${String(error)}`);
    if (disturbance === 'stopped') assert.equal(error.code, 'interrupted');
  }
  // A storage that keeps the first half of a signature breaks its contract: then it shows a snapshot that no verifier trusts.
  const showsHalf = disturbance === 'short' && side === 'target' && hit.endsWith('.sig');
  if (showsHalf) await assert.rejects(countWhole(target), { code: 'bad-signature' }, what);
  else assert.ok((await countWhole(target)) <= snapshots, what);
  const whole = await wholeObjects(target);
  const counted = new CountingStorage(target);
  const { troubles } = await run(repository.storage, counted);
  assert.deepEqual(troubles, [], what);
  assert.equal(await countWhole(target), snapshots, what);
  assert.equal((await readRepositoryJson(target)).id, repository.id);
  const again = counted.requests.filter((request) => whole.has(request.replace('create ', '')));
  assert.deepEqual(again, [], `${what}: carried twice`);
}

async function callsOf(side: Side): Promise<number> {
  const inner = side === 'source' ? repository.storage : new MemoryStorage();
  const storage = new FaultyStorage(inner, { plan: () => undefined });
  await run(
    side === 'source' ? storage : repository.storage,
    side === 'target' ? storage : new MemoryStorage(),
  );
  return storage.calls;
}

describe('copy with faults', () => {
  for (const side of ['source', 'target'] as const)
    for (const disturbance of ['error', 'lost-reply', 'timeout', 'short', 'stopped'] as const)
      test(`${disturbance} at any call of the ${side}`, async () => {
        const calls = await callsOf(side);
        assert.ok(calls > 20);
        for (const ofObject of side === 'source' && disturbance !== 'stopped' ? [false, true] : [false])
          await Promise.all(
            Array.from({ length: calls }, (_, at) => disturb(side, disturbance, at, ofObject)),
          );
      });

  test('any number of faults in any number of runs', async () => {
    const fault = fc.constantFrom<Fault>('error', 'lost-reply', 'short');
    // By the number of a call at either side; what is not listed goes well.
    const faults = fc.dictionary(fc.nat(40).map(String), fault, { maxKeys: 4 });
    const runs = fc.array(fc.record({ source: faults, target: faults, ofObject: fc.boolean() }), {
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(runs, async (runs) => {
        const target = new MemoryStorage();
        for (const { source, target: there, ofObject } of runs) {
          const from = new FaultyStorage(repository.storage, { plan: (index) => source[index], ofObject });
          const to = new FaultyStorage(target, { plan: (index) => there[index], ofObject });
          await run(from, to).catch((error: unknown) =>
            assert.ok(error instanceof SalvageError, String(error)),
          );
          await countWhole(target).catch((error: unknown) =>
            assert.ok(error instanceof SalvageError && error.code === 'bad-signature', String(error)),
          );
        }
        assert.deepEqual((await run(repository.storage, target)).troubles, []);
        assert.equal(await countWhole(target), snapshots);
      }),
      { numRuns: 60 },
    );
  });
});
