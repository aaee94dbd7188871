// Runs attacks on what is stored against each kind of storage: a folder, and a bucket of a real S3 server. Where buckets are
// unlike folders, because they keep versions, test/attack/overwritten-object.test.ts has attacks of their own.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { LocalStorage } from '../../src/storage/local/local-storage.ts';
import { openS3 } from '../../src/storage/s3/open-s3.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { AttackedRepository, plainAttacker, type Attacker } from './attacked-repository.ts';
import { startCephGateway, type CephGateway } from './ceph-gateway.ts';
import { HandMadeRepository } from './hand-made-repository.ts';
import { needsPeers } from './peers.ts';

interface Kind {
  /** A new and empty storage, and the hands of somebody who may do everything there. */
  readonly open: (folder: string) => Promise<{ readonly storage: Storage; readonly attacker?: Attacker }>;
  readonly skip: string | false;
}

export type StorageKind = 'local' | 's3' | 's3 with versions';

const kinds: Readonly<Record<StorageKind, Kind>> = {
  local: { open: async (folder) => ({ storage: new LocalStorage(join(folder, 'repository')) }), skip: false },
  s3: { open: () => openBucket('plain'), ...needsPeers },
  's3 with versions': { open: () => openBucket('versioned'), ...needsPeers },
};

interface Server {
  readonly gateway: CephGateway;
  /** Of the attacker. */
  readonly client: S3Client;
}

/** One for all tests of a file. */
let server: Promise<Server> | undefined;
let places = 0;

after(async () => {
  await (await server)?.gateway.close();
});

async function startServer(): Promise<Server> {
  const gateway = await startCephGateway();
  const owner = gateway.createUser('owner');
  Object.assign(process.env, gateway.environment(owner));
  const client = gateway.client(owner);
  for (const Bucket of ['plain', 'versioned']) await client.send(new CreateBucketCommand({ Bucket }));
  const VersioningConfiguration = { Status: 'Enabled' } as const;
  await client.send(new PutBucketVersioningCommand({ Bucket: 'versioned', VersioningConfiguration }));
  return { gateway, client };
}

/** A prefix that nobody has used. */
async function openBucket(
  Bucket: 'plain' | 'versioned',
): Promise<{ readonly storage: Storage; readonly attacker: Attacker }> {
  const { client } = await (server ??= startServer());
  const prefix = `r${places++}`;
  return {
    storage: openS3(`s3://${Bucket}/${prefix}`, { env: process.env }),
    attacker: {
      async put(name, Body) {
        await client.send(new PutObjectCommand({ Bucket, Key: `${prefix}/${name}`, Body }));
      },
      async remove(name) {
        await client.send(new DeleteObjectCommand({ Bucket, Key: `${prefix}/${name}` }));
      },
    },
  };
}

export interface AttackedStorage {
  readonly storage: Storage;
  readonly attacker: Attacker;
  /** For whatever else the test needs; removed at its end. */
  readonly folder: string;
}

/** Runs the attack against a new folder and a new bucket, or against each of the given kinds of storage. */
export function storageTest(
  what: string,
  attack: (attacked: AttackedStorage, t: TestContext) => Promise<void>,
  on: readonly StorageKind[] = ['local', 's3'],
): void {
  for (const kind of on)
    test(`${what} (${kind})`, { skip: kinds[kind].skip }, async (t) => {
      const folder = mkdtempSync(join(tmpdir(), 'salvage-attack-'));
      t.after(() => rmSync(folder, { recursive: true, force: true }));
      const { storage, attacker = plainAttacker(storage) } = await kinds[kind].open(folder);
      t.after(() => storage.close());
      await attack({ storage, attacker, folder }, t);
    });
}

/** As `storageTest`, with a repository there that waits for its first snapshot. */
export function attackTest(
  what: string,
  attack: (attacked: AttackedRepository) => Promise<void>,
  on?: readonly StorageKind[],
): void {
  const run = async ({ storage, attacker, folder }: AttackedStorage): Promise<void> => {
    const repository = await HandMadeRepository.create(storage);
    await attack(new AttackedRepository(storage, repository, folder, attacker));
  };
  storageTest(what, run, on);
}
