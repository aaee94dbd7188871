// Good objects in wrong places.
import { packName, snapshotFileName } from '../../src/repository/layout.ts';
import { attackTest } from '../support/attack-test.ts';
import { someFile } from '../support/attacked-repository.ts';

attackTest('two packs are exchanged', async (attacked) => {
  const { contentPacks } = await attacked.repository.snapshot([someFile('a'), someFile('b')], {
    packPerFile: true,
  });
  const [first, second] = contentPacks.map(packName) as [string, string];
  const one = (await attacked.storage.read(first))!;
  const other = (await attacked.storage.read(second))!;
  await attacked.rewrite(first, () => other);
  await attacked.rewrite(second, () => one);
  await attacked.finds([
    ['swapped-object', /^"packs\/.*" holds what belongs to "packs\/.*"\.$/],
    ['swapped-object', /^"packs\/.*" holds what belongs to "packs\/.*"\.$/],
  ]);
});

attackTest('a snapshot gets the list and the signature of another', async (attacked) => {
  const { repository, storage } = attacked;
  const first = await repository.snapshot([someFile('a')]);
  const second = await repository.snapshot([someFile('b')]);
  for (const file of ['SHA256SUMS', 'SHA256SUMS.sig'] as const) {
    const bytes = (await storage.read(snapshotFileName(first.id, file)))!;
    await attacked.rewrite(snapshotFileName(second.id, file), () => bytes);
  }
  await attacked.finds([['damaged-snapshot', /lists something that belongs to no snapshot/]]);
});

attackTest('a snapshot is renamed to look newer', async (attacked) => {
  const { repository } = attacked;
  const { id } = await repository.snapshot([someFile('a')]);
  await repository.snapshot([someFile('b')]);
  const renamed = id.replace(/^00000001/, '00000003');
  const files = await attacked.copyAll(`snapshots/${id}/`);
  await attacked.bring([...files].map(([name, bytes]) => [name.replace(id, renamed), bytes]));
  await attacked.finds([['damaged-snapshot', /lists something that belongs to no snapshot/]]);
});
