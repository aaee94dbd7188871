// Signed, but not as this host signs snapshots: by a stranger, by the keeper, or by its own key for another purpose.
import { createHash } from 'node:crypto';
import { snapshotFileName } from '../../src/repository/layout.ts';
import { generateEd25519Key } from '../../src/ssh/encode-private-key.ts';
import { privateKeySigner } from '../../src/ssh/signer.ts';
import { attackTest } from '../support/attack-test.ts';
import { someFile } from '../support/attacked-repository.ts';

const stranger = privateKeySigner(generateEd25519Key('stranger'));

attackTest('by a key that nobody knows', async (attacked) => {
  await attacked.repository.snapshot([someFile('a')]);
  await attacked.repository.snapshot([someFile('b')], { signer: stranger });
  await attacked.finds([
    ['bad-signature', /^Cannot trust snapshot .*: the key SHA256:.* is not among those of/],
  ]);
});

attackTest('by the keeper, who may sign records and no snapshots', async (attacked) => {
  await attacked.repository.snapshot([someFile('a')], { signer: attacked.keeper });
  const allowedSigners = attacked.allowedSigners.replace('keeper namespaces', 'test-host namespaces');
  await attacked.finds([['bad-signature', /the key may not sign in the namespace "salvage-snapshot"/]], {
    allowedSigners,
  });
});

attackTest('by the right key, for another purpose', async (attacked) => {
  const { repository, storage } = attacked;
  const { id } = await repository.snapshot([someFile('a')]);
  const list = (await storage.read(snapshotFileName(id, 'SHA256SUMS')))!;
  const digest = createHash('sha512').update(list).digest();
  const armored = await repository.signer.sign({ namespace: 'salvage-archive', hash: 'sha512', digest });
  await attacked.rewrite(snapshotFileName(id, 'SHA256SUMS.sig'), () => Buffer.from(armored));
  await attacked.finds([
    ['bad-signature', /it was made for "salvage-archive" and not for "salvage-snapshot"/],
  ]);
});
