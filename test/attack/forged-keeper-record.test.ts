// Records that are to explain what an attacker has removed, or to make a keeper remove more.
import assert from 'node:assert/strict';
import { writeKeeperRecord } from '../../src/operation/keeper/keeper-records.ts';
import { generateEd25519Key } from '../../src/ssh/encode-private-key.ts';
import { privateKeySigner, type Signer } from '../../src/ssh/signer.ts';
import { attackTest } from '../support/attack-test.ts';
import { flipBit, someFile, type AttackedRepository } from '../support/attacked-repository.ts';
import type { HandMadeSnapshot } from '../support/hand-made-repository.ts';

const stranger = privateKeySigner(generateEd25519Key('stranger'));

async function forge(
  { storage, repository, clock }: AttackedRepository,
  { id, digest }: HandMadeSnapshot,
  signer: Signer,
): Promise<void> {
  await writeKeeperRecord(
    storage,
    {
      repository: repository.id,
      newest: undefined,
      time: clock.now(),
      open: [],
      isOpen: false,
      act: { action: 'forget', snapshots: [{ id, checksums: digest, previous: null }] },
    },
    signer,
  );
}

for (const [who, choose] of [
  ['a stranger', () => stranger],
  ['the host itself', ({ repository }: AttackedRepository) => repository.signer],
] as const)
  attackTest(`a snapshot is removed, with a record signed by ${who}`, async (attacked) => {
    const { repository } = attacked;
    const first = await repository.snapshot([someFile('a')]);
    await repository.snapshot([someFile('b')]);
    await forge(attacked, first, choose(attacked));
    await attacked.removeAll(`snapshots/${first.id}/`);
    await attacked.finds([
      ['forged-record', /^Cannot trust the keeper's record "keeper\/00000001-.*\.json": /],
      ['missing-snapshot', /^Snapshot number 1 is missing/],
    ]);
    await assert.rejects(attacked.prune(), /snapshot number 1 is missing/);
  });

attackTest('a forged record makes the keeper remove nothing, and does not stop it', async (attacked) => {
  const { repository, storage } = attacked;
  const first = await repository.snapshot([someFile('a')]);
  await repository.snapshot([someFile('b')]);
  await forge(attacked, first, stranger);
  const notices: string[] = [];
  {
    using session = await attacked.session((message) => notices.push(message));
    assert.match(notices.join(), /Cannot trust the keeper's record/);
    assert.equal(session.forgotten.size, 0);
  }
  await attacked.prune();
  assert.ok(await storage.stat(`snapshots/${first.id}/SHA256SUMS.sig`));
  attacked.passTime(1);
  assert.equal((await attacked.forget()).length, 1);
  await attacked.finds([['forged-record', /Cannot trust the keeper's record/]]);
});

attackTest('a true record is changed to explain more', async (attacked) => {
  const { repository } = attacked;
  for (const name of ['a', 'b', 'c']) await repository.snapshot([someFile(name)]);
  await attacked.forget(2);
  const [name] = [...(await attacked.copyAll('keeper/')).keys()];
  await attacked.rewrite(name!, (bytes) => Buffer.from(bytes.toString().replace('"00000001-', '"00000002-')));
  await attacked.finds([
    ['forged-record', /it does not fit the signed data/],
    ['missing-snapshot', /^Snapshot number 1 is missing/],
  ]);
});

attackTest('a record is taken away, or damaged', async (attacked) => {
  const { repository } = attacked;
  for (const name of ['a', 'b', 'c']) await repository.snapshot([someFile(name)]);
  await attacked.forget(2);
  await attacked.forget(1);
  await attacked.finds([]);
  const [first] = [...(await attacked.copyAll('keeper/00000001')).keys()];
  await attacked.rewrite(first!, flipBit(40));
  await attacked.finds([
    ['forged-record', /^Cannot trust the keeper's record/],
    ['missing-record', /^The keeper's record number 1 is missing/],
    ['missing-snapshot', /^Snapshot number 1 is missing/],
  ]);
  await assert.rejects(attacked.prune(), /Cannot go on from the records of this keeper/);
  await attacked.removeAll('keeper/00000001');
  await attacked.finds([
    ['missing-record', /^The keeper's record number 1 is missing/],
    ['missing-snapshot', /^Snapshot number 1 is missing/],
  ]);
});

attackTest('a record of another repository is brought here', async (attacked) => {
  const { repository, storage, keeper, clock } = attacked;
  const first = await repository.snapshot([someFile('a')]);
  await repository.snapshot([someFile('b')]);
  await writeKeeperRecord(
    storage,
    {
      repository: 'ab'.repeat(16) as typeof repository.id,
      newest: undefined,
      time: clock.now(),
      open: [],
      isOpen: false,
      act: { action: 'forget', snapshots: [{ id: first.id, checksums: first.digest, previous: null }] },
    },
    keeper,
  );
  await attacked.removeAll(`snapshots/${first.id}/`);
  await attacked.finds([
    ['forged-record', /it is of another repository/],
    ['missing-snapshot', /^Snapshot number 1 is missing/],
  ]);
});

attackTest('two keepers sign records with one number', async (attacked) => {
  const { repository, storage, clock, keeper } = attacked;
  await repository.snapshot([someFile('a')]);
  for (const seconds of [0, 5])
    await writeKeeperRecord(
      storage,
      {
        repository: repository.id,
        newest: undefined,
        time: new Date(clock.now().getTime() + seconds * 1000),
        open: [],
        isOpen: true,
        act: { action: 'mark', packs: [], indexes: [], unfinished: [] },
      },
      keeper,
    );
  await attacked.finds([
    ['forked-chain', /^Keepers have signed 2 records with the number 1: their chain is forked/],
  ]);
});
