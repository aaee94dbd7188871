// What a host keeps locally is disposable: damaged in any way it costs reading, at worst storing once more, and never a
// wrong snapshot. The same for the index objects in storage, which a host's cache is rebuilt from.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { BackupResult } from '../../src/operation/backup/backup.ts';
import { verify, type VerifyResult } from '../../src/operation/verify/verify.ts';
import { formatPublicKey } from '../../src/ssh/public-key.ts';
import { parseAllowedSigners } from '../../src/ssh/allowed-signers.ts';
import { createBackupHost, runBackup, type BackupHost } from '../support/backup-host.ts';
import { FaultyStorage } from '../support/faulty-storage.ts';

const files = 60;

async function prepare(t: TestContext): Promise<BackupHost> {
  const host = await createBackupHost(t);
  for (let index = 0; index < files; index++)
    writeFileSync(join(host.folder, 'src', `file-${index}`), randomBytes(2000));
  await setTimeout(40);
  await runBackup(host);
  // Files of two runs, so that there are two levels.
  writeFileSync(join(host.folder, 'src', 'later'), randomBytes(2000));
  await setTimeout(40);
  await runBackup(host);
  return host;
}

async function check({ storage, signer, identity }: BackupHost): Promise<VerifyResult> {
  const allowedSigners = parseAllowedSigners(`host ${formatPublicKey(signer.publicKey)}\n`);
  return await verify(
    storage,
    {
      trusted: { allowedSigners, principal: 'host' },
      remembered: () => undefined,
      seenHere: [],
      readShare: 1,
      identities: [identity],
      threads: 1,
    },
    { onTrouble: () => {}, onTotal: () => {}, onProgress: () => {} },
  );
}

const cacheFiles = (host: BackupHost): string[] =>
  readdirSync(join(host.folder, 'cache'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== 'lock')
    .map((entry) => join(entry.parentPath, entry.name));

const damages: Readonly<Record<string, (path: string) => void>> = {
  'a flipped bit in the middle of': (path) => {
    const bytes = readFileSync(path);
    bytes[bytes.length >>> 1]! ^= 4;
    writeFileSync(path, bytes);
  },
  'a cut in the middle of': (path) => truncateSync(path, readFileSync(path).length >>> 1),
  'an emptied': (path) => truncateSync(path, 0),
  'a removed': (path) => rmSync(path),
};
/** As it may well happen, and to no parser's surprise: one hexadecimal digit is another one. */
function flipDigit(path: string): void {
  const text = readFileSync(path, 'utf8');
  const changed = text.replace(
    /"checksums": ?"(.)/,
    (all, digit: string) => all.slice(0, -1) + (digit === '0' ? '1' : '0'),
  );
  assert.notEqual(changed, text);
  writeFileSync(path, changed);
}

const kinds = ['listing-', 'blobs-', 'packs-', 'current.json', 'packs'];

describe('a damaged cache', () => {
  for (const [damage, harm] of Object.entries(damages))
    test(`${damage} file of it, whichever`, async (t) => {
      const host = await prepare(t);
      for (const kind of kinds) {
        const found = cacheFiles(host).filter((path) => {
          const name = path.slice(path.lastIndexOf('/') + 1);
          return kind === 'packs' ? name === kind : name.startsWith(kind);
        });
        assert.ok(found.length > 0, kind);
        for (const path of found) harm(path);
        const { counts } = await runBackup(host);
        // Without the table, what is read is looked up in vain.
        if (kind !== 'blobs-') assert.equal(counts.bytesNew, 0, `${kind}: stored twice`);
        assert.equal(counts.filesNew + counts.filesChanged + counts.filesUnchanged, files + 1, kind);
        await runBackup(host, { force: true });
        assert.equal((await runBackup(host)).counts.filesUnchanged, files + 1, kind);
      }
      const { troubles, snapshots } = await check(host);
      assert.deepEqual([troubles, snapshots], [[], 2 + 3 * kinds.length]);
    });

  test('one digit of what it remembers of the last snapshot does not fork the chain', async (t) => {
    const host = await prepare(t);
    flipDigit(cacheFiles(host).find((path) => path.endsWith('current.json'))!);
    assert.equal((await runBackup(host)).counts.bytesNew, 0);
    assert.deepEqual((await check(host)).troubles, []);
  });

  test('a damaged journal of a run that was ended', async (t) => {
    for (const harm of Object.values(damages).slice(0, 3)) {
      const host = await createBackupHost(t);
      for (let index = 0; index < files; index++)
        writeFileSync(join(host.folder, 'src', `file-${index}`), randomBytes(2000));
      await setTimeout(40);
      const ends = new FaultyStorage(host.storage, {
        plan: (_, call, name) => (call === 'create' && name.startsWith('index/') ? 'error' : undefined),
      });
      await assert.rejects(runBackup(host, { storage: ends }));
      const [journal] = cacheFiles(host).filter((path) => path.endsWith('journal'));
      harm(journal!);
      await runBackup(host);
      assert.equal((await runBackup(host)).counts.filesUnchanged, files);
      assert.deepEqual((await check(host)).troubles, []);
    }
  });
});

describe('a rebuilt cache', () => {
  const rebuild = async (host: BackupHost): Promise<BackupResult> => {
    rmSync(join(host.folder, 'cache'), { recursive: true });
    return await runBackup(host);
  };
  const indexNames = async ({ storage }: BackupHost): Promise<string[]> =>
    (await Array.fromAsync(storage.list('index/'))).map(({ name }) => name);

  test('comes from the index: everything is read and nothing stored', async (t) => {
    const host = await prepare(t);
    const { counts } = await rebuild(host);
    assert.deepEqual([counts.bytesNew, counts.bytesRead], [0, (files + 1) * 2000]);
    assert.deepEqual((await check(host)).troubles, []);
  });

  for (const harm of ['damaged', 'missing'])
    test(`stores once more what a ${harm} index object listed, and says nothing wrong`, async (t) => {
      const host = await prepare(t);
      const [name] = await indexNames(host);
      const bytes = (await host.storage.read(name!))!;
      await host.storage.remove(name!);
      bytes[bytes.length >>> 1]! ^= 1;
      if (harm === 'damaged') await host.storage.create(name!, [bytes]);
      const { counts } = await rebuild(host);
      assert.ok(counts.bytesNew > 0 && counts.bytesNew <= files * 2000, `${counts.bytesNew}`);
      const { troubles } = await check(host);
      // The snapshot that it belongs to lacks it. Nobody needs it to restore.
      assert.deepEqual([...new Set(troubles.map(({ object }) => object))], [name]);
      assert.equal((await runBackup(host)).counts.filesUnchanged, files + 1);
    });
});
