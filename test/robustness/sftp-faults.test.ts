// Connections and servers that die while objects travel, and servers that say nothing.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { systemClock } from '../../src/clock/clock.ts';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { patientRetries, type RetrySettings } from '../../src/storage/retry/backoff.ts';
import { RetryingStorage } from '../../src/storage/retry/retrying-storage.ts';
import { openSftpStorage, type SftpSettings } from '../../src/storage/sftp/open-sftp-storage.ts';
import { findTransient } from '../../src/storage/transient-error.ts';
import { needsPeers } from '../support/peers.ts';
import { needsRoot, startSshd, type TestSshd } from '../support/sshd.ts';

const quickRetries: RetrySettings = {
  ...patientRetries,
  firstDelayMs: 5,
  longestDelayMs: 50,
  patienceMs: 200_000,
};
const addOnly =
  'open,close,read,write,lstat,stat,fstat,opendir,readdir,realpath,fsync,statvfs,limits,hardlink';

const settings = (sshd: TestSshd, more: Partial<SftpSettings> = {}): SftpSettings => ({
  env: process.env,
  clock: systemClock,
  sshCommand: sshd.client.sshCommand,
  ...more,
});

test('a stream goes on over a new connection, as often as it takes', needsPeers, async (t) => {
  const sshd = await startSshd(t);
  const storage = await openSftpStorage(sshd.url('repo'), settings(sshd, { resume: quickRetries }));
  t.after(async () => await storage.close());
  const hash = createHash('sha256');
  const part = Buffer.allocUnsafe(100_000);
  async function* body(): AsyncGenerator<Uint8Array> {
    for (let index = 0; index < 240; index++) {
      // A part may be reused for the next.
      part.set(randomBytes(1000));
      hash.update(part);
      yield part;
      await Promise.resolve();
      if (index % 90 === 50) sshd.cutConnections();
      if (index === 120) {
        await sshd.kill();
        await sshd.start();
      }
    }
  }
  assert.equal(await storage.createFromStream('archives/big.age', body()), 'created');
  const stored = readFileSync(join(sshd.folder, 'repo', 'archives', 'big.age'));
  assert.equal(createHash('sha256').update(stored).digest('hex'), hash.digest('hex'));
  await storage.close();
  assert.deepEqual(readdirSync(join(sshd.folder, 'repo', '.incoming')), []);
});

test(
  'without resumption a cut upload is an error that may be tried again, and leaves no object',
  needsPeers,
  async (t) => {
    const sshd = await startSshd(t);
    const storage = await openSftpStorage(sshd.url('repo'), settings(sshd));
    t.after(async () => await storage.close());
    async function* body(): AsyncGenerator<Uint8Array> {
      for (let index = 0; index < 100; index++) {
        yield randomBytes(100_000);
        if (index === 50) sshd.cutConnections();
        await Promise.resolve();
      }
    }
    await assert.rejects(
      async () => await storage.createFromStream('object', body()),
      (error) =>
        error instanceof SalvageError && error.code === 'failed' && findTransient(error) !== undefined,
    );
    assert.equal(await storage.stat('object'), undefined);
    assert.equal(readdirSync(join(sshd.folder, 'repo', '.incoming')).length, 1);

    assert.equal(await storage.removeUnfinished(60_000), 0, 'it may still be under way');
    const [left] = readdirSync(join(sshd.folder, 'repo', '.incoming'));
    utimesSync(join(sshd.folder, 'repo', '.incoming', left!), 1, 1);
    assert.equal(await storage.removeUnfinished(60_000), 1);
  },
);

test('requests of all kinds survive a server that is killed and started again', needsPeers, async (t) => {
  const sshd = await startSshd(t);
  const sftp = await openSftpStorage(sshd.url('repo'), settings(sshd, { resume: quickRetries }));
  const storage = new RetryingStorage(sftp, quickRetries);
  t.after(async () => await storage.close());
  const body = Array.from({ length: 20 }, () => randomBytes(200_000));
  const running = [
    ...Array.from({ length: 8 }, async (_, index) => await storage.create(`packs/0${index}/object`, body)),
    storage.createFromStream(
      'stream',
      (async function* () {
        for (const part of body) {
          yield part;
          await Promise.resolve();
        }
      })(),
    ),
  ];
  // When the uploads are on their way.
  while (!existsSync(join(sshd.folder, 'repo', '.incoming'))) await setTimeout(2);
  await sshd.kill();
  await sshd.start();
  assert.deepEqual(
    await Promise.all(running),
    Array.from({ length: 9 }, () => 'created'),
  );
  sshd.cutConnections();
  const listed: string[] = [];
  for await (const { name, sizeBytes } of storage.list('')) {
    assert.equal(sizeBytes, 4_000_000);
    listed.push(name);
    if (listed.length === 3) sshd.cutConnections();
  }
  assert.equal(listed.length, 9);
  sshd.cutConnections();
  assert.equal(Buffer.compare((await storage.read('packs/03/object'))!, Buffer.concat(body)), 0);
  sshd.cutConnections();
  assert.equal(await storage.remove('packs/03/object'), 'removed');
  await storage.settle();
});

test('an add-only account starts an object anew when its connection is lost', needsRoot, async (t) => {
  const sshd = await startSshd(t, { confined: { sftpArguments: `-u 0222 -p ${addOnly},mkdir` } });
  const sftp = await openSftpStorage(sshd.url(''), settings(sshd, { resume: quickRetries }));
  assert.equal(sftp.capabilities.remove, false);
  const storage = new RetryingStorage(sftp, { ...quickRetries, onRetry: () => {} });
  t.after(async () => await storage.close());
  mkdirSync(join(sshd.folder, '.incoming'));
  chownSync(join(sshd.folder, '.incoming'), sshd.uid, -1);
  const body = Array.from({ length: 60 }, () => randomBytes(300_000));
  const creating = storage.create('object', body);
  while (readdirSync(join(sshd.folder, '.incoming')).length === 0) await setTimeout(2);
  sshd.cutConnections();
  assert.equal(await creating, 'created');
  assert.equal((await storage.stat('object'))?.sizeBytes, 18_000_000);
});

test('a server that says nothing is given up, and the next request connects anew', needsPeers, async (t) => {
  const sshd = await startSshd(t);
  const box = sshd.folder;
  // Connections reach a program that never answers, for the time being.
  const fake = join(box, 'ssh');
  writeFileSync(
    fake,
    `#!/bin/sh\ntest -e ${box}/answers || exec cat >/dev/null\nexec ${sshd.client.sshCommand} "$@"\n`,
    {
      mode: 0o755,
    },
  );
  const open = async (): Promise<unknown> =>
    await openSftpStorage(sshd.url('repo'), settings(sshd, { sshCommand: fake, silenceMs: 200 }));
  await assert.rejects(
    open,
    (error) => findTransient(error) !== undefined && /no answer for/.test(String(error)),
  );
  writeFileSync(join(box, 'answers'), '');
  const storage = await openSftpStorage(sshd.url('repo'), settings(sshd, { sshCommand: fake }));
  assert.equal(await storage.create('object', [Buffer.from('x')]), 'created');
  await storage.close();
});

test('after it is closed a storage answers nothing', needsPeers, async (t) => {
  const sshd = await startSshd(t);
  const storage = await openSftpStorage(sshd.url('repo'), settings(sshd));
  await storage.create('object', [Buffer.from('x')]);
  await storage.close();
  await storage.close();
  await assert.rejects(async () => await storage.stat('object'), /closed/);
});

test('a full disk of the server is named, and leaves room for what is smaller', needsRoot, async (t) => {
  const sshd = await startSshd(t);
  const folder = join(sshd.folder, 'small');
  mkdirSync(folder);
  assert.equal(spawnSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', folder]).status, 0);
  try {
    const storage = await openSftpStorage(sshd.url('small'), settings(sshd, { resume: quickRetries }));
    await assert.rejects(
      async () => await storage.create('packs/aa/big', [randomBytes(8_000_000)]),
      (error) =>
        error instanceof SalvageError && /packs\/aa\/big.*the disk of the server is full/.test(error.message),
    );
    assert.equal(await storage.stat('packs/aa/big'), undefined);
    assert.equal(await storage.create('packs/aa/small', [randomBytes(1_000_000)]), 'created');
    await storage.close();
    assert.deepEqual(readdirSync(join(folder, '.incoming')), []);
  } finally {
    spawnSync('/bin/umount', ['-l', folder]);
  }
});
