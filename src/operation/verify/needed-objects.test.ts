import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ObjectDigest } from '../../repository/ids.ts';
import { packName } from '../../repository/layout.ts';
import { MemoryStorage } from '../../storage/memory/memory-storage.ts';
import type { SignedSnapshot } from '../reading/signed-snapshot.ts';
import { NeededObjects } from './needed-objects.ts';
import type { Trouble } from './trouble.ts';

const [a, b, c] = ['a', 'b', 'c'].map((digit) => digit.repeat(64) as ObjectDigest) as [
  ObjectDigest,
  ObjectDigest,
  ObjectDigest,
];

/** What is found of one snapshot that lists these packs. */
async function needed(
  listed: readonly ObjectDigest[],
  stored: Readonly<Record<ObjectDigest, number>>,
  rewrapped: readonly (readonly [ObjectDigest, ObjectDigest])[],
): Promise<{ needed: NeededObjects; troubles: string[] }> {
  const troubles: Trouble[] = [];
  const objects = new Map(
    Object.entries(stored).map(([digest, size]) => [packName(digest as ObjectDigest), size]),
  );
  const listing = { objects, snapshotFiles: new Map(), hasRecords: false, hasHandovers: false };
  const found = new NeededObjects(new MemoryStorage(), listing, new Map(rewrapped), (trouble) =>
    troubles.push(trouble),
  );
  const checksums = { packs: listed, indexes: [], root: 'f'.repeat(64) };
  await found.addSnapshot({ id: 'one', checksums } as unknown as SignedSnapshot);
  return { needed: found, troubles: troubles.map(({ kind, object }) => `${kind} ${object}`) };
}

describe('the objects that snapshots need', () => {
  test('must be there, and not be empty', async () => {
    const found = await needed([a, b, c], { [a]: 1, [b]: 0 }, []);
    assert.deepEqual(found.troubles, [`truncated-object ${packName(b)}`, `missing-object ${packName(c)}`]);
    assert.deepEqual([...found.needed.digests.values()], [a, b, c]);
    assert.equal(found.needed.unlisted, 0);
  });

  test('may be gone if what stands for them is there', async () => {
    const { needed: found, troubles } = await needed([a], { [b]: 1, [c]: 1 }, [[a, b]]);
    assert.deepEqual(troubles, []);
    assert.equal(found.nameInUse(packName(a)), packName(b));
    assert.deepEqual([...found.digests], [[packName(b), b]]);
    assert.equal(found.unlisted, 1);
  });

  test('are followed in a circle no further than once around', async () => {
    const found = await needed([a], {}, [
      [a, b],
      [b, a],
    ]);
    assert.deepEqual(found.troubles, [`missing-object ${packName(b)}`, `missing-object ${packName(a)}`]);
  });
});
