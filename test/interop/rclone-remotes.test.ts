// The storage of rclone on remotes that are not a disk: Azure Blob Storage, and SFTP against a real sshd.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before } from 'node:test';
import { systemClock } from '../../src/clock/clock.ts';
import { openRclone } from '../../src/storage/rclone/open-rclone.ts';
import { startAzurite } from '../support/azurite.ts';
import { havePeers } from '../support/peers.ts';
import { startSshd } from '../support/sshd.ts';
import { testStorage, type StorageUnderTest } from '../support/storage-conformance.ts';

const folder = mkdtempSync(join(tmpdir(), 'salvage-rclone-test-'));
const configuration = join(folder, 'rclone.conf');
const env = { PATH: '/usr/bin:/bin', RCLONE_CONFIG: configuration, TMPDIR: folder };
let places = 0;

// What is registered by `after` within a hook is done when that hook ends.
const cleanUp: (() => Promise<void>)[] = [];
const lifetime = { after: (work: () => Promise<void>): void => void cleanUp.push(work) };
after(async () => {
  for (const work of cleanUp) await work();
  rmSync(folder, { recursive: true, force: true });
});

/** Each test gets a place of its own in the remote. */
function remote(name: string): StorageUnderTest {
  return {
    bigBytes: 10 << 20,
    manyObjects: 50,
    open: async () => {
      const url = `rclone:${name}:salvage/place-${places++}`;
      const [storage, second] = [0, 1].map(() => openRclone(url, { env, clock: systemClock }));
      return {
        storage: storage!,
        second: second!,
        close: async () => {
          await Promise.all([storage!.close(), second!.close()]);
        },
      };
    },
  };
}

if (havePeers) {
  before(async () => {
    const [sharedAccessUrl, sshd] = await Promise.all([startAzurite(lifetime), startSshd(lifetime)]);
    const knownHosts = join(dirname(dirname(sshd.client.keyFile)), 'known_hosts');
    assert.match(readFileSync(knownHosts, 'latin1'), /ssh-ed25519/);
    mkdirSync(join(sshd.folder, 'sftp'));
    writeFileSync(
      configuration,
      `[azure]
type = azureblob
sas_url = ${sharedAccessUrl}
[sftp]
type = sftp
host = ${sshd.host}
port = ${sshd.port}
user = ${sshd.user}
key_file = ${sshd.client.keyFile}
known_hosts_file = ${knownHosts}
disable_hashcheck = true
[sftp-folder]
type = alias
remote = sftp:${join(sshd.folder, 'sftp')}
`,
    );
  });
  testStorage('rclone, Azure Blob Storage', remote('azure'));
  testStorage('rclone, SFTP', remote('sftp-folder'));
}
