// Two histories in one repository.
import { attackTest } from '../support/attack-test.ts';
import { someFile } from '../support/attacked-repository.ts';

attackTest('two snapshots have one number', async (attacked) => {
  const { repository } = attacked;
  const first = await repository.snapshot([someFile('a')]);
  await repository.snapshot([someFile('b')]);
  await repository.snapshot([someFile('c')], { sequence: 2, previous: first.digest });
  await attacked.finds([['forked-chain', /^Two snapshots have the number 2: .* The chain is forked\.$/]]);
});

attackTest('a snapshot goes on from another one than the one before it', async (attacked) => {
  const { repository } = attacked;
  const first = await repository.snapshot([someFile('a')]);
  await repository.snapshot([someFile('b')]);
  await repository.snapshot([someFile('c')], { previous: first.digest });
  await attacked.finds([['forked-chain', /does not go on from .*: it names another one/]]);
});

attackTest('the place of a forgotten snapshot is taken by another', async (attacked) => {
  const { repository } = attacked;
  const first = await repository.snapshot([someFile('a')]);
  await repository.snapshot([someFile('b')]);
  const third = await repository.snapshot([someFile('c')]);
  await attacked.forget(1);
  await attacked.finds([]);
  await repository.snapshot([someFile('x')], { sequence: 2, previous: first.digest });
  await attacked.finds([
    [
      'forked-chain',
      /^Two snapshots have the number 2: .*, one of which a keeper has removed\. The chain is forked/,
    ],
  ]);
  await attacked.removeAll('snapshots/00000002');
  await repository.snapshot([someFile('y')], { sequence: 4, previous: first.digest });
  await attacked.finds([['forked-chain', new RegExp(`does not go on from ${third.id}`)]]);
});
