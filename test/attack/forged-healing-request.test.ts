// Who can store objects, or has an auditor's key, asks a host to store things anew: to have it work without end, or to have
// it refer to what is damaged.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { utf8Bytes } from '../../src/bytes/bytes.ts';
import type { BackupResult } from '../../src/operation/backup/backup.ts';
import { mostHealedPacks } from '../../src/operation/backup/heal-packs.ts';
import {
  signHealingRequests,
  storeHealingRequest,
  type SignedRequest,
} from '../../src/operation/healing/healing-requests.ts';
import { listSnapshots } from '../../src/operation/open-repository.ts';
import type { PackId, RepositoryId } from '../../src/repository/ids.ts';
import { snapshotFileName } from '../../src/repository/layout.ts';
import { decodeChecksums } from '../../src/repository/snapshot/checksums.ts';
import { generateEd25519Key } from '../../src/ssh/encode-private-key.ts';
import { formatPublicKey } from '../../src/ssh/public-key.ts';
import { privateKeySigner, type Signer } from '../../src/ssh/signer.ts';
import { MemoryStorage } from '../../src/storage/memory/memory-storage.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { storageTest } from '../support/attack-test.ts';
import { createBackupHostIn, runBackup, type BackupHost } from '../support/backup-host.ts';

const fileBytes = 100_000;

class Healing {
  readonly auditor: Signer = privateKeySigner(generateEd25519Key('auditor'));
  readonly notices: string[] = [];
  readonly #host: BackupHost<Storage>;

  constructor(host: BackupHost<Storage>) {
    this.#host = { ...host, host: { ...host.host, auditors: [formatPublicKey(this.auditor.publicKey)] } };
  }

  get repository(): RepositoryId {
    return this.#host.host.repositoryId;
  }

  async run(): Promise<BackupResult> {
    this.notices.length = 0;
    return await runBackup(this.#host, { onNotice: (message) => this.notices.push(message) });
  }

  forgetCache(): void {
    rmSync(join(this.#host.folder, 'cache'), { recursive: true });
  }

  /** Those of the newest snapshot. */
  async packs(): Promise<readonly PackId[]> {
    const { storage } = this.#host;
    const { id } = (await listSnapshots(storage)).committed.at(-1)!;
    return decodeChecksums((await storage.read(snapshotFileName(id, 'SHA256SUMS')))!, id).packs;
  }

  async request(
    packs: readonly PackId[],
    {
      signer = this.auditor,
      repository = this.repository,
    }: { signer?: Signer; repository?: RepositoryId } = {},
  ): Promise<SignedRequest> {
    return (await signHealingRequests(repository, packs, new Date(), signer))[0]!;
  }

  async store(request: SignedRequest): Promise<void> {
    await storeHealingRequest(this.#host.storage, request);
  }
}

async function prepare(storage: Storage, t: TestContext): Promise<Healing> {
  const host = await createBackupHostIn(storage, t);
  writeFileSync(join(host.folder, 'src', 'file'), randomBytes(fileBytes));
  await setTimeout(50);
  const healing = new Healing(host);
  await healing.run();
  return healing;
}

storageTest(
  'what no trusted auditor has signed, for this repository, under this name, is not acted on',
  async ({ storage }, t) => {
    const healing = await prepare(storage, t);
    const packs = await healing.packs();
    const good = await healing.request(packs);
    const stranger = privateKeySigner(generateEd25519Key('stranger'));
    const digest = createHash('sha512').update(good.document).digest();
    const asKeeper = await healing.auditor.sign({ namespace: 'salvage-keeper', hash: 'sha512', digest });
    const renamed = (name: string): string => name.replace(/\d{8}T/, '20300101T');
    for (const request of [
      await healing.request(packs, { signer: stranger }),
      await healing.request(packs, { repository: 'ab'.repeat(16) as RepositoryId }),
      { ...good, armored: utf8Bytes(asKeeper) },
      { ...good, name: renamed(good.name), signatureName: renamed(good.signatureName) },
    ])
      await healing.store(request);
    const { counts, healing: outcome } = await healing.run();
    assert.deepEqual([counts.bytesRead, outcome], [0, undefined]);
    assert.equal(healing.notices.length, 4);
    assert.match(healing.notices.join('\n'), /is not among/);
    assert.match(healing.notices.join('\n'), /it is for another repository/);
    assert.match(healing.notices.join('\n'), /made for "salvage-keeper"/);
    assert.match(healing.notices.join('\n'), /it is a request of/);
  },
);

storageTest(
  'a request is acted on once, and for good: played back it costs nothing, and a lost cache does not undo it',
  async ({ storage }, t) => {
    const healing = await prepare(storage, t);
    const asked = await healing.packs();
    const request = await healing.request(asked);
    await healing.store(request);
    const first = await healing.run();
    assert.equal(first.counts.bytesRead, fileBytes);
    // The old tree segment refers to the old packs: only the old snapshot needs it.
    const { packs: healed, bytesHealed, bytesLost } = first.healing!;
    assert.deepEqual([healed, bytesHealed, bytesLost < 1000], [asked.length, fileBytes, true]);

    const again = (name: string): string => name.replace(/-[0-9a-f]{8}/, '-00000000');
    await healing.store({
      ...request,
      name: again(request.name),
      signatureName: again(request.signatureName),
    });
    const second = await healing.run();
    assert.deepEqual([second.counts.bytesRead, second.healing], [0, undefined]);

    healing.forgetCache();
    await healing.run();
    const packs = await healing.packs();
    assert.deepEqual(
      packs.filter((pack) => asked.includes(pack)),
      [],
    );
  },
);

// How many are looked at is the same everywhere.
test('a flood of requests is looked at in part, and the newest counts', async (t) => {
  const storage = new MemoryStorage();
  const healing = await prepare(storage, t);
  const packs = await healing.packs();
  const junk = Array.from({ length: 300 }, (_, index) => {
    const stamp = `20200101T00${String(index % 60).padStart(2, '0')}00Z-${String(index).padStart(8, '0')}`;
    return [`healing/${stamp}.json`, `healing/${stamp}.json.sig`];
  });
  await Promise.all(junk.flat().map((name) => storage.create(name, [utf8Bytes('junk')])));
  await healing.store(await healing.request(packs));
  const { healing: outcome } = await healing.run();
  assert.equal(outcome?.packs, packs.length);
  assert.match(healing.notices[0]!, /^45 of 301 requests for healing were not looked at/);
  assert.ok(healing.notices.length <= 5);
});

test('whoever has the key of an auditor has a quarter of the packs stored anew in a run', () => {
  assert.deepEqual([0, 16, 64, 65, 10_000].map(mostHealedPacks), [16, 16, 16, 17, 2500]);
});
