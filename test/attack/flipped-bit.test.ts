// One bit is another: bit rot, or somebody who hopes that nobody looks.
import { indexName, packName, snapshotFileName } from '../../src/repository/layout.ts';
import { attackTest } from '../support/attack-test.ts';
import { flipBit, someFile } from '../support/attacked-repository.ts';

attackTest('in a pack', async (attacked) => {
  const { contentPacks } = await attacked.repository.snapshot([someFile('a')]);
  await attacked.rewrite(packName(contentPacks[0]!), flipBit(70_000));
  await attacked.finds([['changed-object', /^"packs\/.*" was changed: the SHA-256/]]);
  // Without reading data nobody can know.
  await attacked.finds([], { withoutData: true });
});

attackTest('in an index object', async (attacked) => {
  const { index } = await attacked.repository.snapshot([someFile('a')]);
  await attacked.rewrite(indexName(index), flipBit(200));
  await attacked.finds([['changed-object', /^"index\/.*" was changed/]]);
});

attackTest('in root.age, snapshot.json, the list and the signature', async (attacked) => {
  const { repository } = attacked;
  const ids = [];
  for (const name of ['a', 'b', 'c', 'd']) ids.push((await repository.snapshot([someFile(name)])).id);
  await attacked.rewrite(snapshotFileName(ids[0]!, 'snapshot.json'), flipBit(50));
  await attacked.rewrite(snapshotFileName(ids[1]!, 'SHA256SUMS'), flipBit(3));
  await attacked.rewrite(snapshotFileName(ids[2]!, 'SHA256SUMS.sig'), flipBit(120));
  await attacked.rewrite(snapshotFileName(ids[3]!, 'root.age'), flipBit(400));
  await attacked.finds([
    ['damaged-snapshot', /snapshot\.json": its SHA-256 is/],
    ['bad-signature', /Cannot trust snapshot/],
    ['bad-signature', /Cannot trust snapshot/],
    ['changed-object', /root\.age" was changed/],
  ]);
});
