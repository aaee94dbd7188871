// Another host of the fleet, which may sign for itself, writes into this one's repository; and a snapshot that is genuine
// elsewhere is brought here.
import { generateEd25519Key } from '../../src/ssh/encode-private-key.ts';
import { formatPublicKey } from '../../src/ssh/public-key.ts';
import { privateKeySigner } from '../../src/ssh/signer.ts';
import { MemoryStorage } from '../../src/storage/memory/memory-storage.ts';
import { attackTest } from '../support/attack-test.ts';
import { AttackedRepository, someFile } from '../support/attacked-repository.ts';
import { HandMadeRepository } from '../support/hand-made-repository.ts';

const other = privateKeySigner(generateEd25519Key('db-1'));
const line = `db-1 namespaces="salvage-snapshot" ${formatPublicKey(other.publicKey)}\n`;

attackTest('a snapshot that another host has signed', async (attacked) => {
  await attacked.repository.snapshot([someFile('a')]);
  await attacked.repository.snapshot([someFile('b')], { signer: other });
  await attacked.finds(
    [
      [
        'bad-signature',
        /^Cannot trust snapshot 00000002-.*: line 3: the key belongs to another principal, "db-1"$/,
      ],
    ],
    { allowedSigners: attacked.allowedSigners + line },
  );
});

attackTest('a snapshot out of another repository of this very host', async (attacked) => {
  const { repository } = attacked;
  await repository.snapshot([someFile('a')]);
  const elsewhere = await HandMadeRepository.create(new MemoryStorage());
  const { id } = await elsewhere.snapshot([someFile('b')], { sequence: 2, signer: repository.signer });
  const there = new AttackedRepository(elsewhere.storage, elsewhere, '');
  await attacked.bring(await there.copyAll('packs/'));
  await attacked.bring(await there.copyAll('index/'));
  await attacked.bring(await there.copyAll('snapshots/'));
  await attacked.finds([
    ['foreign', new RegExp(`^Snapshot ${id} belongs to another repository, ${elsewhere.id}\\.$`)],
  ]);
});
