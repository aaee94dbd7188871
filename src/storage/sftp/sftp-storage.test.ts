import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite } from 'node:test';
import { needsPeers } from '../../../test/support/peers.ts';
import { needsRoot, startSshd, type SshdOptions, type TestSshd } from '../../../test/support/sshd.ts';
import { testStorage } from '../../../test/support/storage-conformance.ts';
import { systemClock } from '../../clock/clock.ts';
import { openSftpStorage } from './open-sftp-storage.ts';
import type { SftpStorage } from './sftp-storage.ts';

const addOnly =
  'open,close,read,write,lstat,stat,fstat,opendir,readdir,realpath,fsync,statvfs,limits,hardlink';

testAccount('sftp', {}, async () => {});
testAccount(
  'sftp without extensions',
  { confined: { sftpArguments: '-P hardlink,fsync,limits,statvfs,posix-rename' } },
  async () => {},
);
testAccount(
  'sftp, add-only',
  { confined: { sftpArguments: `-u 0222 -p ${addOnly}` } },
  async (folder, uid) => {
    for (const name of [folder, join(folder, '.incoming')]) {
      mkdirSync(name);
      chownSync(name, uid, -1);
    }
  },
);
testAccount(
  'sftp, add-only with mkdir',
  { confined: { sftpArguments: `-p ${addOnly},mkdir` } },
  async () => {},
);

function testAccount(
  label: string,
  options: SshdOptions,
  prepare: (folder: string, uid: number) => Promise<void>,
): void {
  const needs = needsPeers.skip ? needsPeers : options.confined ? needsRoot : {};
  suite(label, needs, () => {
    let sshd: TestSshd;
    let end: () => Promise<void>;
    let sshCommand: string;
    let places = 0;
    before(async () => {
      sshd = await startSshd({ after: (close) => (end = close) }, options);
      ({ sshCommand } = await sshd.sharedClient());
    });
    after(async () => await end());
    const open = async (place: string): Promise<SftpStorage> =>
      await openSftpStorage(sshd.url(place), {
        env: process.env,
        clock: systemClock,
        sshCommand,
      });
    testStorage(label, {
      open: async () => {
        const place = `place-${places++}`;
        await prepare(join(sshd.folder, place), sshd.uid);
        const [storage, second] = await Promise.all([open(place), open(place)]);
        return {
          storage,
          second,
          close: async () => {
            await Promise.all([storage.close(), second.close()]);
          },
        };
      },
    });
  });
}
