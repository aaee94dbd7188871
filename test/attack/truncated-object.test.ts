// An object loses its end, or all of it.
import { packName, snapshotFileName } from '../../src/repository/layout.ts';
import { attackTest } from '../support/attack-test.ts';
import { someFile } from '../support/attacked-repository.ts';

attackTest('a pack is cut short', async (attacked) => {
  const { contentPacks } = await attacked.repository.snapshot([someFile('a')]);
  await attacked.rewrite(packName(contentPacks[0]!), (bytes) => bytes.subarray(0, 100_001));
  await attacked.finds([['truncated-object', /^"packs\/.*" was cut short: 100001 bytes are left/]]);
});

attackTest('a pack is emptied: seen without reading anything', async (attacked) => {
  const { contentPacks } = await attacked.repository.snapshot([someFile('a')]);
  await attacked.rewrite(packName(contentPacks[0]!), () => Buffer.alloc(0));
  await attacked.finds([['truncated-object', /^"packs\/.*" is empty/]], { withoutData: true });
});

attackTest('the signed list is cut short', async (attacked) => {
  const { id } = await attacked.repository.snapshot([someFile('a')]);
  await attacked.rewrite(snapshotFileName(id, 'SHA256SUMS'), (bytes) =>
    bytes.subarray(0, bytes.indexOf('\n') + 1),
  );
  await attacked.finds([['bad-signature', /it does not fit the signed data/]]);
});
