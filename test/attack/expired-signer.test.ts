// A key that has run out signs on, and dates back what it signs.
import { generateEd25519Key } from '../../src/ssh/encode-private-key.ts';
import { formatPublicKey } from '../../src/ssh/public-key.ts';
import { privateKeySigner } from '../../src/ssh/signer.ts';
import { attackTest } from '../support/attack-test.ts';
import { someFile } from '../support/attacked-repository.ts';

const next = privateKeySigner(generateEd25519Key('next'));

attackTest('a snapshot after the end', async (attacked) => {
  const allowedSigners = attacked.allowedSigners.replace('namespaces', 'valid-before="20260201Z",namespaces');
  await attacked.repository.snapshot([someFile('a')], { time: new Date('2026-01-01T00:00:00Z') });
  await attacked.finds([], { allowedSigners });
  await attacked.repository.snapshot([someFile('b')], { time: new Date('2026-02-02T00:00:00Z') });
  await attacked.finds([['bad-signature', /the key is not valid after 2026-02-01/]], { allowedSigners });
});

attackTest('a snapshot that is dated back behind one of the next key', async (attacked) => {
  const allowedSigners =
    attacked.allowedSigners.replace('namespaces', 'valid-before="20260201Z",namespaces') +
    `test-host ${formatPublicKey(next.publicKey)}\n`;
  const { repository } = attacked;
  await repository.snapshot([someFile('a')], { time: new Date('2026-01-01T00:00:00Z') });
  await repository.snapshot([someFile('b')], { time: new Date('2026-03-01T00:00:00Z'), signer: next });
  await repository.snapshot([someFile('c')], { time: new Date('2026-01-02T00:00:00Z') });
  await attacked.finds([['bad-signature', /the key is not valid after 2026-02-01/]], { allowedSigners });
});
