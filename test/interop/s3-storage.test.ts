// S3 storage against Ceph's RADOS Gateway: the conformance suite in each kind of bucket, and what only S3 has.
import { after, before, suite } from 'node:test';
import { CreateBucketCommand, PutBucketVersioningCommand } from '@aws-sdk/client-s3';
import { openS3 } from '../../src/storage/s3/open-s3.ts';
import type { S3Storage } from '../../src/storage/s3/s3-storage.ts';
import { startCephGateway, type CephGateway, type GatewayUser } from '../support/ceph-gateway.ts';
import { needsPeers } from '../support/peers.ts';
import { testStorage } from '../support/storage-conformance.ts';

let gateway: CephGateway;
let owner: GatewayUser;
let places = 0;

before(async () => {
  if (needsPeers.skip) return;
  gateway = await startCephGateway();
  owner = gateway.createUser('owner');
  Object.assign(process.env, gateway.environment(owner));
  const client = gateway.client(owner);
  for (const Bucket of ['plain', 'versioned']) await client.send(new CreateBucketCommand({ Bucket }));
  await client.send(
    new PutBucketVersioningCommand({
      Bucket: 'versioned',
      VersioningConfiguration: { Status: 'Enabled' },
    }),
  );
  await client.send(new CreateBucketCommand({ Bucket: 'locked', ObjectLockEnabledForBucket: true }));
});

after(async () => {
  await gateway?.close();
});

function open(url: string): S3Storage {
  return openS3(url, { env: process.env });
}

for (const bucket of ['plain', 'versioned', 'locked'])
  suite(`s3 storage, ${bucket} bucket`, needsPeers, () => {
    testStorage(bucket, {
      open: async () => {
        const url = `s3://${bucket}/place-${places++}`;
        const [storage, second] = [open(url), open(url)];
        const until = new Date(Date.now() + 3_600_000);
        if (bucket === 'locked')
          for (const client of [storage, second]) client.objectLock.lockNew({ mode: 'compliance', until });
        return await Promise.resolve({
          storage,
          second,
          close: async () => {
            await storage.close();
            await second.close();
          },
        });
      },
      ...(bucket === 'plain' && { bigBytes: 70 * 1024 * 1024 }),
    });
  });
