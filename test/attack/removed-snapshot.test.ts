// Who can delete takes a snapshot away: verify names it, unless a record of a trusted keeper says that it was meant to go.
import assert from 'node:assert/strict';
import { packName } from '../../src/repository/layout.ts';
import { attackTest } from '../support/attack-test.ts';
import { someFile } from '../support/attacked-repository.ts';

attackTest('a snapshot is taken out of the middle', async (attacked) => {
  const { repository } = attacked;
  await repository.snapshot([someFile('a')]);
  const { id } = await repository.snapshot([someFile('b')]);
  await repository.snapshot([someFile('c')]);
  await attacked.removeAll(`snapshots/${id}/`);
  await attacked.finds([['missing-snapshot', /^Snapshot number 2 is missing, and no signed record says/]]);
});

attackTest('only its signature is taken, so that it looks unfinished', async (attacked) => {
  const { repository } = attacked;
  const { id } = await repository.snapshot([someFile('a')]);
  await repository.snapshot([someFile('b')]);
  await attacked.remove(`snapshots/${id}/SHA256SUMS.sig`);
  await attacked.finds([['missing-snapshot', /^Snapshot number 1 is missing/]]);
});

attackTest(
  'what a keeper has removed is no trouble, and its record explains nothing else',
  async (attacked) => {
    const { repository } = attacked;
    for (const name of ['a', 'b', 'c', 'd']) await repository.snapshot([someFile(name)]);
    assert.equal((await attacked.forget(2)).length, 2);
    const { troubles, forgotten, head } = await attacked.verify();
    assert.deepEqual([troubles, forgotten, head?.sequence], [[], 2, 4]);
    await attacked.finds([['missing-snapshot', /^Snapshots number 1 to 2 are missing/]], {
      withoutKeeper: true,
    });
    const third = await attacked.copyAll('snapshots/00000003');
    await attacked.removeAll('snapshots/00000003');
    assert.ok(third.size > 0);
    await attacked.finds([['missing-snapshot', /^Snapshot number 3 is missing/]]);
  },
);

attackTest(
  'the keeper does not remove the packs of a snapshot that somebody has taken away',
  async (attacked) => {
    const { repository, storage } = attacked;
    await repository.snapshot([someFile('a')]);
    const { id, contentPacks } = await repository.snapshot([someFile('b')]);
    await repository.snapshot([someFile('c')]);
    const taken = await attacked.copyAll(`snapshots/${id}/`);
    await attacked.removeAll(`snapshots/${id}/`);
    await assert.rejects(attacked.prune(), /snapshot number 2 is missing, and no record of this keeper says/);
    // Brought back from wherever it is kept, all is good again.
    await attacked.bring(taken);
    await attacked.prune();
    await attacked.finds([]);
    assert.ok(await storage.stat(packName(contentPacks[0]!)));
  },
);
