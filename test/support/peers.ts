import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');

/** False only when the tests were asked to run without the real programs; those that need them then skip. */
export const havePeers: boolean = process.env['SALVAGE_TEST_WITHOUT_PEERS'] !== '1';

/** Pass as the `skip` option of a test that needs a real program. */
export const needsPeers: { skip: string | false } = {
  skip: havePeers ? false : 'SALVAGE_TEST_WITHOUT_PEERS=1',
};

/** The newest age (1.3), with age-keygen, age-inspect and age-plugin-{pq,tag,tagtest,batchpass}. */
export const age13Folder: string = join(root, '.cache', 'peers', 'age', 'usr', 'bin');
export const age13: string = join(age13Folder, 'age');
/** Debian 12's age (1.1). */
export const age11 = '/usr/bin/age';

/** The folder of the newest rclone. */
export const newestRclone: string = join(root, '.cache', 'peers', 'rclone', 'usr', 'bin');

/** Azurite's server of Azure Blob Storage, for Node. */
export const azuriteMain: string = join(
  root,
  '.cache/peers/azurite/node_modules/azurite/dist/src/blob/main.js',
);
