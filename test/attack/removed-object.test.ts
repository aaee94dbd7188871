// Who can delete takes packs, index objects or parts of a snapshot away.
import assert from 'node:assert/strict';
import { indexName, packName, snapshotFileName } from '../../src/repository/layout.ts';
import { attackTest } from '../support/attack-test.ts';
import { someFile } from '../support/attacked-repository.ts';

attackTest('a pack is removed: seen without reading anything', async (attacked) => {
  const { id, contentPacks } = await attacked.repository.snapshot([someFile('a')]);
  await attacked.remove(packName(contentPacks[0]!));
  await attacked.finds([['missing-object', new RegExp(`^"packs/.*" is missing. Snapshot ${id} needs it`)]], {
    withoutData: true,
  });
});

attackTest('an index object, root.age or snapshot.json is removed', async (attacked) => {
  const { repository } = attacked;
  const { index } = await repository.snapshot([someFile('a')]);
  const second = await repository.snapshot([someFile('b')]);
  const third = await repository.snapshot([someFile('c')]);
  await attacked.remove(indexName(index));
  await attacked.remove(snapshotFileName(second.id, 'root.age'));
  await attacked.remove(snapshotFileName(third.id, 'snapshot.json'));
  await attacked.finds([
    ['damaged-snapshot', /snapshot\.json": it is missing/],
    ['missing-object', /"index\/.*" is missing/],
    ['missing-object', /root\.age" is missing/],
  ]);
});

attackTest('the keeper refuses to guess what a snapshot without its list needs', async (attacked) => {
  const { id } = await attacked.repository.snapshot([someFile('a')]);
  await attacked.repository.snapshot([someFile('b')]);
  await attacked.remove(snapshotFileName(id, 'SHA256SUMS'));
  await assert.rejects(attacked.prune(), /Cannot tell what snapshot .* still needs: .*it is missing/);
  await attacked.finds([['damaged-snapshot', /SHA256SUMS": it is missing/]]);
});
