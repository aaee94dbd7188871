// Attacks on what is stored, in buckets: where an attacker may overwrite, a bucket without versions is as bad as a disk; in
// one with versions what was signed is found again, and what was done is told.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { openSnapshot } from '../../src/operation/open-snapshot.ts';
import { SealedObjects } from '../../src/operation/reading/sealed-objects.ts';
import { readSignedSnapshot, snapshotTime } from '../../src/operation/reading/signed-snapshot.ts';
import { readContent } from '../../src/operation/browse/read-content.ts';
import type { SnapshotId } from '../../src/repository/ids.ts';
import { indexName, packName, snapshotFileName } from '../../src/repository/layout.ts';
import { openS3 } from '../../src/storage/s3/open-s3.ts';
import { AttackedRepository, flipBit, someFile } from '../support/attacked-repository.ts';
import { startCephGateway, type CephGateway, type GatewayUser } from '../support/ceph-gateway.ts';
import { handMadePrincipal, HandMadeRepository } from '../support/hand-made-repository.ts';
import { needsPeers } from '../support/peers.ts';

suite('objects in a bucket', needsPeers, () => {
  let gateway: CephGateway;
  let owner: GatewayUser;
  let client: S3Client;
  let places = 0;

  before(async () => {
    gateway = await startCephGateway();
    owner = gateway.createUser('owner');
    Object.assign(process.env, gateway.environment(owner));
    client = gateway.client(owner);
    for (const Bucket of ['plain', 'versioned']) await client.send(new CreateBucketCommand({ Bucket }));
    await client.send(
      new PutBucketVersioningCommand({
        Bucket: 'versioned',
        VersioningConfiguration: { Status: 'Enabled' },
      }),
    );
  });

  after(async () => {
    await gateway?.close();
  });

  /** As `attackTest`; the attacker overwrites and removes by requests of its own. */
  function bucketAttack(
    what: string,
    Bucket: string,
    attack: (attacked: AttackedRepository, attacker: Attacker) => Promise<void>,
  ): void {
    test(`${what} (${Bucket})`, async (t) => {
      const folder = mkdtempSync(join(tmpdir(), 'salvage-attack-'));
      t.after(() => rmSync(folder, { recursive: true, force: true }));
      const prefix = `r${places++}`;
      const storage = openS3(`s3://${Bucket}/${prefix}`, { env: process.env });
      t.after(() => storage.close());
      const attacked = new AttackedRepository(storage, await HandMadeRepository.create(storage), folder);
      await attack(attacked, {
        async overwrite(name, change) {
          const Body = change(Buffer.from((await storage.read(name))!));
          await client.send(new PutObjectCommand({ Bucket, Key: `${prefix}/${name}`, Body }));
        },
        async remove(name) {
          await client.send(new DeleteObjectCommand({ Bucket, Key: `${prefix}/${name}` }));
        },
      });
    });
  }

  bucketAttack('what is overwritten or removed is lost, and named', 'plain', async (attacked, attacker) => {
    const files = ['a', 'b', 'c', 'd', 'e'].map((name) => someFile(name, 100_000));
    const { contentPacks, index } = await attacked.repository.snapshot(files, { packPerFile: true });
    const [changed, cut, removed, one, other] = contentPacks.map(packName);
    await attacker.overwrite(changed!, flipBit(70_000));
    await attacker.overwrite(cut!, (bytes) => bytes.subarray(0, 50_001));
    await attacker.remove(removed!);
    const [first, second] = [await attacked.storage.read(one!), await attacked.storage.read(other!)];
    await attacker.overwrite(one!, () => second!);
    await attacker.overwrite(other!, () => first!);
    await attacker.remove(indexName(index));
    const { troubles } = await attacked.verify();
    assert.deepEqual(
      new Map(troubles.map(({ kind, object }) => [object, kind])),
      new Map([
        [changed, 'changed-object'],
        [cut, 'truncated-object'],
        [removed, 'missing-object'],
        [one, 'swapped-object'],
        [other, 'swapped-object'],
        [indexName(index), 'missing-object'],
      ]),
    );
    assert.equal(troubles.length, 6);
  });

  bucketAttack('an old state is played back', 'plain', async (attacked) => {
    await attacked.repository.snapshot([someFile('a')]);
    const old = await attacked.copyAll();
    await attacked.repository.snapshot([someFile('b')]);
    const remembered = await attacked.remember();
    await attacked.playBack(old);
    await attacked.finds([['rollback', /number 1, but number 2 .* was seen here before/]], { remembered });
  });

  bucketAttack('a pack is overwritten, once and many times', 'versioned', async (attacked, attacker) => {
    const { id, contentPacks } = await attacked.repository.snapshot([someFile('a'), someFile('b')], {
      packPerFile: true,
    });
    const [once, often] = contentPacks.map(packName);
    await attacker.overwrite(once!, flipBit(70_000));
    for (let turn = 0; turn < 20; turn++) await attacker.overwrite(often!, () => Buffer.from(`no ${turn}`));
    await attacked.finds([
      ['superseded-object', /^"packs\/.*" was overwritten at .*older version, which restore reads/],
      ['superseded-object', /^"packs\/.*" was overwritten at/],
    ]);
    assert.deepEqual(await contentOf(attacked, id, 'a'), someFile('a').content);
  });

  bucketAttack(
    'a pack, an index object and root.age are removed',
    'versioned',
    async (attacked, attacker) => {
      const { id, contentPacks, index } = await attacked.repository.snapshot([someFile('a')]);
      for (const name of [packName(contentPacks[0]!), indexName(index), snapshotFileName(id, 'root.age')])
        await attacker.remove(name);
      const words = /" was removed at .*older version/;
      await attacked.finds([
        ['superseded-object', words],
        ['superseded-object', words],
        ['superseded-object', words],
      ]);
      assert.deepEqual(await contentOf(attacked, id, 'a'), someFile('a').content);
    },
  );

  bucketAttack('a snapshot gets the signed list of another', 'versioned', async (attacked, attacker) => {
    const first = await attacked.repository.snapshot([someFile('a')]);
    const second = await attacked.repository.snapshot([someFile('b')]);
    for (const file of ['SHA256SUMS', 'SHA256SUMS.sig'] as const) {
      const bytes = (await attacked.storage.read(snapshotFileName(first.id, file)))!;
      await attacker.overwrite(snapshotFileName(second.id, file), () => Buffer.from(bytes));
    }
    await attacked.finds([
      ['superseded-object', /SHA256SUMS" was overwritten/],
      ['superseded-object', /SHA256SUMS\.sig" was overwritten/],
    ]);
    assert.deepEqual(await contentOf(attacked, second.id, 'b'), someFile('b').content);
  });

  bucketAttack('the newest snapshot is removed whole', 'versioned', async (attacked, attacker) => {
    await attacked.repository.snapshot([someFile('a')]);
    const { id } = await attacked.repository.snapshot([someFile('b')]);
    for (const file of ['snapshot.json', 'root.age', 'SHA256SUMS', 'SHA256SUMS.sig'] as const)
      await attacker.remove(snapshotFileName(id, file));
    await attacked.finds([['removed-snapshot', new RegExp(id)]]);
    assert.deepEqual(await contentOf(attacked, id, 'b'), someFile('b').content);
  });
});

interface Attacker {
  overwrite(name: string, change: (bytes: Buffer) => Uint8Array): Promise<void>;
  remove(name: string): Promise<void>;
}

/** As a restorer reads it who trusts nothing but the host's signature. */
async function contentOf(
  { storage, repository }: AttackedRepository,
  id: SnapshotId,
  path: string,
): Promise<Buffer> {
  const objects = new SealedObjects(storage, [repository.identity]);
  const signed = await readSignedSnapshot(
    storage,
    id,
    { allowedSigners: repository.allowedSigners, principal: handMadePrincipal },
    snapshotTime(id),
  );
  const snapshot = await openSnapshot(storage, signed, objects);
  return Buffer.concat(await Array.fromAsync(readContent(snapshot, objects, Buffer.from(path))));
}
