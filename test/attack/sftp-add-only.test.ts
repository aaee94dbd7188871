// The add-only accounts of docs/manual/storage-sftp.md: whoever has stolen their key sends every request that could
// destroy, alter, hide or replace what earlier logins stored.
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { systemClock } from '../../src/clock/clock.ts';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { openSftpStorage } from '../../src/storage/sftp/open-sftp-storage.ts';
import { OpenFlag, PacketType } from '../../src/storage/sftp/sftp-packet.ts';
import { RawSftp } from '../support/raw-sftp.ts';
import { needsRoot, startSshd, type TestSshd } from '../support/sshd.ts';

const setstat = 9;
const fsetstat = 10;
const rmdir = 15;
const symlink = 20;
const { open, close, read, write, remove, mkdir, rename, extended } = PacketType;
const append = 0x04;
const withSize = 0x1;
const withOwner = 0x2;
const withMode = 0x4;
const withTimes = 0x8;
const content = Buffer.from('precious backup data '.repeat(10));
const allowed =
  'open,close,read,write,lstat,stat,fstat,opendir,readdir,realpath,fsync,statvfs,limits,hardlink';

/** One way to do harm to the object `victim` in the folder where a login starts. */
type Attack = (sftp: RawSftp, victim: string, junk: string) => Promise<unknown>;

async function overwrite(sftp: RawSftp, path: string, flags: number): Promise<void> {
  const { handle } = await sftp.request(open, path, flags, 0);
  await sftp.request(write, handle, 0n, 'EVIL');
  await sftp.request(close, handle);
}

async function put(sftp: RawSftp, path: string): Promise<void> {
  const { handle } = await sftp.request(open, path, OpenFlag.write | OpenFlag.create, withMode, 0o777);
  await sftp.request(write, handle, 0n, 'EVIL');
  await sftp.request(close, handle);
}

async function withReadHandle(
  sftp: RawSftp,
  path: string,
  use: (handle: Uint8Array) => Promise<unknown>,
): Promise<void> {
  const { handle } = await sftp.request(open, path, OpenFlag.read, 0);
  await use(handle);
  await sftp.request(close, handle);
}

const attacks: Readonly<Record<string, Attack>> = {
  remove: async (sftp, victim) => await sftp.request(remove, victim),
  'rename it away': async (sftp, victim, junk) => await sftp.request(rename, victim, `${junk}-away`),
  'rename junk over it': async (sftp, victim, junk) => await sftp.request(rename, junk, victim),
  'posix-rename it away': async (sftp, victim, junk) =>
    await sftp.request(extended, 'posix-rename@openssh.com', victim, `${junk}-away`),
  'posix-rename junk over it': async (sftp, victim, junk) =>
    await sftp.request(extended, 'posix-rename@openssh.com', junk, victim),
  'link junk over it': async (sftp, victim, junk) =>
    await sftp.request(extended, 'hardlink@openssh.com', junk, victim),
  'symlink over it': async (sftp, victim) => await sftp.request(symlink, '/etc/passwd', victim),
  'make a folder over it': async (sftp, victim) => await sftp.request(mkdir, victim, withMode, 0o777),
  'remove it as a folder': async (sftp, victim) => await sftp.request(rmdir, victim),
  'open and truncate': async (sftp, victim) =>
    await overwrite(sftp, victim, OpenFlag.write | OpenFlag.truncate),
  'open, create and truncate': async (sftp, victim) =>
    await overwrite(sftp, victim, OpenFlag.write | OpenFlag.create | OpenFlag.truncate),
  'open for writing': async (sftp, victim) => await overwrite(sftp, victim, OpenFlag.write),
  'open for both': async (sftp, victim) => await overwrite(sftp, victim, OpenFlag.read | OpenFlag.write),
  'open to append': async (sftp, victim) => await overwrite(sftp, victim, OpenFlag.write | append),
  'read and truncate': async (sftp, victim) =>
    await overwrite(sftp, victim, OpenFlag.read | OpenFlag.truncate),
  'write through a handle for reading': async (sftp, victim) =>
    await withReadHandle(sftp, victim, async (handle) => await sftp.request(write, handle, 0n, 'EVIL')),
  'setstat size': async (sftp, victim) => await sftp.request(setstat, victim, withSize, 0n),
  'setstat mode, then write': async (sftp, victim) => {
    await sftp.request(setstat, victim, withMode, 0o600);
    await overwrite(sftp, victim, OpenFlag.write);
  },
  'setstat times': async (sftp, victim) => await sftp.request(setstat, victim, withTimes, 1, 1),
  'setstat owner': async (sftp, victim) => await sftp.request(setstat, victim, withOwner, 0, 0),
  'fsetstat size': async (sftp, victim) =>
    await withReadHandle(sftp, victim, async (handle) => await sftp.request(fsetstat, handle, withSize, 0n)),
  'fsetstat mode, then write': async (sftp, victim) => {
    await withReadHandle(
      sftp,
      victim,
      async (handle) => await sftp.request(fsetstat, handle, withMode, 0o600),
    );
    await overwrite(sftp, victim, OpenFlag.write);
  },
  'lsetstat mode, then write': async (sftp, victim) => {
    await sftp.request(extended, 'lsetstat@openssh.com', victim, withMode, 0o600);
    await overwrite(sftp, victim, OpenFlag.write);
  },
  'lsetstat times': async (sftp, victim) =>
    await sftp.request(extended, 'lsetstat@openssh.com', victim, withTimes, 1, 1),
  'copy-data into it': async (sftp, victim, junk) => {
    const from = await sftp.request(open, junk, OpenFlag.read, 0);
    const to = await sftp.request(open, victim, OpenFlag.read | OpenFlag.write, 0);
    await sftp.request(extended, 'copy-data', from.handle, 0n, 0n, to.handle, 0n);
    const back = await sftp.request(open, victim, OpenFlag.read, 0);
    await sftp.request(extended, 'copy-data', from.handle, 0n, 0n, back.handle, 0n);
    for (const { handle } of [from, to, back]) await sftp.request(close, handle);
  },
  'close its folder': async (sftp) => await sftp.request(setstat, '.', withMode, 0),
  'rename its folder': async (sftp) => await sftp.request(rename, '/data', '/gone'),
  'through a second name': async (sftp, victim, junk) => {
    const second = `${junk}-second`;
    await sftp.request(extended, 'hardlink@openssh.com', victim, second);
    await overwrite(sftp, second, OpenFlag.write | OpenFlag.truncate);
    await sftp.request(setstat, second, withMode, 0o600);
    await overwrite(sftp, second, OpenFlag.write);
    await sftp.request(remove, second);
  },
};

for (const [label, sftpArguments] of [
  ['without mkdir, umask 0222', `-u 0222 -p ${allowed}`],
  ['with mkdir', `-p ${allowed},mkdir`],
] as const)
  suite(`add-only account ${label}`, needsRoot, () => {
    let sshd: TestSshd;
    let attacker: RawSftp;
    let end: () => Promise<void>;
    before(async () => {
      sshd = await startSshd({ after: (work) => (end = work) }, { confined: { sftpArguments } });
      mkdirSync(join(sshd.folder, '.incoming'));
      chownSync(join(sshd.folder, '.incoming'), sshd.uid, -1);
      const storage = await openSftpStorage(sshd.url(''), {
        env: process.env,
        clock: systemClock,
        sshCommand: sshd.client.sshCommand,
      });
      assert.deepEqual(storage.capabilities, { exclusiveCreate: true, remove: false });
      for (const name of Object.keys(attacks)) await storage.create(victimOf(name), [content]);
      await storage.create('packs/aa/object', [content]);
      await assert.rejects(
        async () => await storage.remove('packs/aa/object'),
        (error) => error instanceof SalvageError && error.message.includes('may only add'),
      );
      await storage.close();
      attacker = await RawSftp.connect(sshd);
      for (const name of Object.keys(attacks)) await put(attacker, `${victimOf(name)}.junk`);
    });
    after(async () => {
      await attacker.close();
      await end();
    });

    for (const [name, attack] of Object.entries(attacks))
      test(name, async () => {
        const victim = victimOf(name);
        const path = join(sshd.folder, victim);
        const { mode, mtimeMs, uid, gid, ino } = lstatSync(path);
        const folder = lstatSync(sshd.folder);
        await attack(attacker, victim, `${victim}.junk`);
        const now = lstatSync(path);
        assert.deepEqual(readFileSync(path), content);
        assert.deepEqual([now.mode, now.mtimeMs, now.uid, now.gid, now.ino], [mode, mtimeMs, uid, gid, ino]);
        assert.equal(lstatSync(sshd.folder).mode, folder.mode);
      });

    test('objects in folders are as safe', async () => {
      const flat = join(sshd.folder, 'packs+aa+object');
      const path = existsSync(flat) ? flat : join(sshd.folder, 'packs/aa/object');
      const inside = path.slice(sshd.folder.length + 1);
      await put(attacker, 'junk');
      for (const attack of Object.values(attacks)) await attack(attacker, inside, 'junk');
      await attacker.request(rename, 'packs', 'gone');
      await attacker.request(rmdir, 'packs/aa');
      assert.deepEqual(readFileSync(path), content);
    });

    test('nothing is reached outside the account', async () => {
      writeFileSync(join(sshd.folder, '..', 'outside'), 'secret');
      chmodSync(join(sshd.folder, '..', 'outside'), 0o666);
      for (const path of ['../../../../etc/passwd', '/etc/passwd', '../../sshd_config']) {
        const { code, handle } = await attacker.request(open, path, OpenFlag.read, 0);
        assert.notEqual(code, 0, path);
        assert.equal((await attacker.request(read, handle, 0n, 100)).code !== 0, true);
      }
      await put(attacker, '../new');
      assert.deepEqual(readdirSync(join(sshd.folder, '..')).sort(), ['data', 'outside']);
    });

    test('what an honest run stores next is stored, whatever lies about', async () => {
      const storage = await openSftpStorage(sshd.url(''), {
        env: process.env,
        clock: systemClock,
        sshCommand: sshd.client.sshCommand,
      });
      assert.equal(await storage.create('packs/bb/next', [content]), 'created');
      assert.deepEqual(await storage.read('packs/bb/next'), new Uint8Array(content));
      await storage.close();
    });
  });

test('where nothing is denied, the same requests destroy', needsRoot, async (t) => {
  const sshd = await startSshd(t, { confined: { sftpArguments: '' } });
  const attacker = await RawSftp.connect(sshd);
  t.after(async () => await attacker.close());
  const harmless: string[] = [];
  for (const [name, attack] of Object.entries(attacks)) {
    const path = join(sshd.folder, 'victim');
    rmSync(path, { recursive: true, force: true });
    writeFileSync(path, content, { mode: 0o644 });
    chownSync(path, sshd.uid, -1);
    await put(attacker, 'junk');
    const before = lstatSync(path);
    await attack(attacker, 'victim', 'junk');
    const now = lstatSync(path, { throwIfNoEntry: false });
    const isSame =
      now?.isFile() &&
      readFileSync(path).equals(content) &&
      now.mode === before.mode &&
      now.mtimeMs === before.mtimeMs &&
      now.ino === before.ino;
    if (isSame) harmless.push(name);
    chmodSync(sshd.folder, 0o755);
  }
  // What the file system itself refuses, and what is aimed at the folder.
  assert.deepEqual(harmless, [
    'rename junk over it',
    'link junk over it',
    'symlink over it',
    'make a folder over it',
    'remove it as a folder',
    'write through a handle for reading',
    'setstat owner',
    'fsetstat size',
    'close its folder',
    'rename its folder',
  ]);
});

function victimOf(attack: string): string {
  return attack.replaceAll(/[^a-z]+/g, '-');
}
