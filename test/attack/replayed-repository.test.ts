// Storage shows an old state as the present one. Every object in it is genuine; only memory helps.
import assert from 'node:assert/strict';
import { attackTest } from '../support/attack-test.ts';
import { someFile } from '../support/attacked-repository.ts';

attackTest('the whole repository is set back', async (attacked) => {
  const { repository } = attacked;
  await repository.snapshot([someFile('a')]);
  const old = await attacked.copyAll();
  await repository.snapshot([someFile('b')]);
  const remembered = await attacked.remember();
  await attacked.playBack(old);
  await attacked.finds(
    [
      [
        'rollback',
        /^The newest snapshot is number 1, but number 2 \(.*\) was seen here before: storage was rolled back/,
      ],
    ],
    { remembered },
  );
  // Who has never been here cannot know.
  await attacked.finds([]);
});

attackTest('history is set back and written anew by somebody with the host key', async (attacked) => {
  const { repository } = attacked;
  const first = await repository.snapshot([someFile('a')]);
  const old = await attacked.copyAll();
  await repository.snapshot([someFile('b')]);
  const remembered = await attacked.remember();
  await attacked.playBack(old);
  await repository.snapshot([someFile('c')], { sequence: 2, previous: first.digest });
  await repository.snapshot([someFile('d')]);
  await attacked.finds([['rollback', /^Snapshot number 2 is another one than was seen here before/]], {
    remembered,
  });
});

attackTest(
  'the head that was seen is forgotten by the keeper, and history goes on from it',
  async (attacked) => {
    const { repository } = attacked;
    const old = await attacked.copyAll();
    await repository.snapshot([someFile('a')]);
    const remembered = await attacked.remember();
    await repository.snapshot([someFile('b')]);
    await attacked.forget();
    await attacked.finds([], { remembered });
    // Set back to before the keeper came, with another history in its place.
    await attacked.playBack(old);
    await repository.snapshot([someFile('x')], { sequence: 1, previous: null });
    await repository.snapshot([someFile('y')]);
    await attacked.finds([['rollback', /^Snapshot number 1 is another one/]], { remembered });
  },
);

attackTest('the records of the keeper are set back', async (attacked) => {
  const { repository } = attacked;
  await repository.snapshot([someFile('a')]);
  await repository.snapshot([someFile('b')]);
  await attacked.forget();
  await attacked.prune();
  const remembered = await attacked.remember();
  assert.equal(remembered.keeper?.number, 2);
  await attacked.removeAll('keeper/00000002');
  await attacked.finds(
    [['rollback', /^The keeper's record number 2 was seen here before and is not there any more/]],
    { remembered },
  );
  await assert.rejects(attacked.prune(), /record number 2 is not there any more: storage was set back/);
});

attackTest('a snapshot that the keeper has removed is brought back', async (attacked) => {
  const { repository } = attacked;
  const { id } = await repository.snapshot([someFile('a')]);
  const old = await attacked.copyAll(`snapshots/${id}/`);
  await repository.snapshot([someFile('b')]);
  await attacked.forget();
  await attacked.prune();
  attacked.passTime(25);
  await attacked.prune();
  await attacked.bring(old);
  // It counts for nothing, neither for verify nor for the next run of the keeper.
  const { troubles, snapshots } = await attacked.verify();
  assert.deepEqual([troubles, snapshots], [[], 1]);
  await attacked.prune();
  assert.equal((await attacked.copyAll(`snapshots/${id}/`)).size, 0);
});
