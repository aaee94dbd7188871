// Somebody writes over objects, or removes them, in a bucket that keeps versions: what was signed is found again, and what
// was done is told. In buckets without versions the attacks of the other files end as they do on a disk.
import assert from 'node:assert/strict';
import { openSnapshot } from '../../src/operation/open-snapshot.ts';
import { SealedObjects } from '../../src/operation/reading/sealed-objects.ts';
import { readSignedSnapshot, snapshotTime } from '../../src/operation/reading/signed-snapshot.ts';
import { readContent } from '../../src/operation/browse/read-content.ts';
import type { SnapshotId } from '../../src/repository/ids.ts';
import { indexName, packName, snapshotFileName } from '../../src/repository/layout.ts';
import { attackTest } from '../support/attack-test.ts';
import { flipBit, someFile, type AttackedRepository } from '../support/attacked-repository.ts';
import { handMadePrincipal } from '../support/hand-made-repository.ts';

function versionedAttack(what: string, attack: (attacked: AttackedRepository) => Promise<void>): void {
  attackTest(what, attack, ['s3 with versions']);
}

versionedAttack('a pack is overwritten, once and many times', async (attacked) => {
  const { id, contentPacks } = await attacked.repository.snapshot([someFile('a'), someFile('b')], {
    packPerFile: true,
  });
  const [once, often] = contentPacks.map(packName);
  await attacked.rewrite(once!, flipBit(70_000));
  for (let turn = 0; turn < 20; turn++) await attacked.rewrite(often!, () => Buffer.from(`no ${turn}`));
  await attacked.finds([
    ['superseded-object', /^"packs\/.*" was overwritten at .*older version, which restore reads/],
    ['superseded-object', /^"packs\/.*" was overwritten at/],
  ]);
  assert.deepEqual(await contentOf(attacked, id, 'a'), someFile('a').content);
});

versionedAttack('a pack, an index object and root.age are removed', async (attacked) => {
  const { id, contentPacks, index } = await attacked.repository.snapshot([someFile('a')]);
  for (const name of [packName(contentPacks[0]!), indexName(index), snapshotFileName(id, 'root.age')])
    await attacked.remove(name);
  const words = /" was removed at .*older version/;
  await attacked.finds([
    ['superseded-object', words],
    ['superseded-object', words],
    ['superseded-object', words],
  ]);
  assert.deepEqual(await contentOf(attacked, id, 'a'), someFile('a').content);
});

versionedAttack('a snapshot gets the signed list of another', async (attacked) => {
  const first = await attacked.repository.snapshot([someFile('a')]);
  const second = await attacked.repository.snapshot([someFile('b')]);
  for (const file of ['SHA256SUMS', 'SHA256SUMS.sig'] as const) {
    const bytes = (await attacked.storage.read(snapshotFileName(first.id, file)))!;
    await attacked.rewrite(snapshotFileName(second.id, file), () => Buffer.from(bytes));
  }
  await attacked.finds([
    ['superseded-object', /SHA256SUMS" was overwritten/],
    ['superseded-object', /SHA256SUMS\.sig" was overwritten/],
  ]);
  assert.deepEqual(await contentOf(attacked, second.id, 'b'), someFile('b').content);
});

versionedAttack('the newest snapshot is removed whole', async (attacked) => {
  await attacked.repository.snapshot([someFile('a')]);
  const { id } = await attacked.repository.snapshot([someFile('b')]);
  for (const file of ['snapshot.json', 'root.age', 'SHA256SUMS', 'SHA256SUMS.sig'] as const)
    await attacked.remove(snapshotFileName(id, file));
  await attacked.finds([['removed-snapshot', new RegExp(id)]]);
  assert.deepEqual(await contentOf(attacked, id, 'b'), someFile('b').content);
});

/** As a restorer reads it who trusts nothing but the host's signature. */
async function contentOf(
  { storage, repository }: AttackedRepository,
  id: SnapshotId,
  path: string,
): Promise<Buffer> {
  const objects = new SealedObjects(storage, [repository.identity]);
  const signed = await readSignedSnapshot(
    storage,
    id,
    { allowedSigners: repository.allowedSigners, principal: handMadePrincipal },
    snapshotTime(id),
  );
  const snapshot = await openSnapshot(storage, signed, objects);
  return Buffer.concat(await Array.fromAsync(readContent(snapshot, objects, Buffer.from(path))));
}
