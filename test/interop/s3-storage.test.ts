// S3 storage against Ceph's RADOS Gateway: the conformance suite in each kind of bucket, and what only S3 has.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectRetentionCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  UploadPartCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { patientRetries } from '../../src/storage/retry/backoff.ts';
import { RetryingStorage } from '../../src/storage/retry/retrying-storage.ts';
import { openS3 } from '../../src/storage/s3/open-s3.ts';
import type { S3Storage } from '../../src/storage/s3/s3-storage.ts';
import { startCephGateway, type CephGateway, type GatewayUser } from '../support/ceph-gateway.ts';
import { HttpProxy } from '../support/http-proxy.ts';
import { needsPeers } from '../support/peers.ts';
import { testStorage } from '../support/storage-conformance.ts';

let gateway: CephGateway;
let owner: GatewayUser;
let client: S3Client;
let places = 0;

before(async () => {
  if (needsPeers.skip) return;
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

const hour = 3_600_000;
const impatient = { ...patientRetries, firstDelayMs: 1, longestDelayMs: 2 };
const some = [Buffer.from('some bytes')];

async function failure(work: Promise<unknown>): Promise<SalvageError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof SalvageError, `a SalvageError and not ${String(error)}`);
  return error;
}

suite('s3 storage that fails', needsPeers, () => {
  const cases: [string, () => Promise<unknown>, RegExp][] = [
    [
      'no such bucket',
      async () => await open('s3://nowhere-at-all/x').create('a', some),
      /Cannot look for "a" in "s3:\/\/nowhere-at-all\/x": there is no such bucket/,
    ],
    [
      'wrong secret key',
      async () =>
        await withEnvironment(
          { AWS_SECRET_ACCESS_KEY: 'x' },
          async () => await open('s3://plain/x').read('a'),
        ),
      /the secret key does not belong to the access key/,
    ],
    [
      'unknown access key',
      async () =>
        await withEnvironment({ AWS_ACCESS_KEY_ID: 'x' }, async () => await open('s3://plain/x').read('a')),
      /the server does not know the access key/,
    ],
    [
      'a bucket of somebody else',
      async () => {
        const stranger = gateway.createUser('stranger');
        const environment = gateway.environment(stranger);
        return await withEnvironment(environment, async () => await open('s3://plain/x').create('a', some));
      },
      /access is denied/,
    ],
    [
      'quota',
      async () => {
        const poor = gateway.createUser('poor');
        gateway.admin(['quota', 'set', '--quota-scope=user', '--uid=poor', '--max-objects=1']);
        gateway.admin(['quota', 'enable', '--quota-scope=user', '--uid=poor']);
        const theirs = gateway.client(poor);
        await theirs.send(new CreateBucketCommand({ Bucket: 'poor-bucket' }));
        return await withEnvironment(gateway.environment(poor), async () => {
          const storage = open('s3://poor-bucket/x');
          for (let index = 0; index < 5; index++) await storage.create(`object-${index}`, some);
        });
      },
      /the quota is used up/,
    ],
    [
      'a bucket without locks',
      async () => {
        const storage = open('s3://plain/x');
        storage.objectLock.lockNew({ mode: 'compliance', until: new Date(Date.now() + hour) });
        return await storage.create('a', some);
      },
      /the bucket has no Object Lock/,
    ],
    [
      'a certificate that nobody trusts',
      async () => await open(`s3://plain/x?endpoint=${gateway.tlsEndpoint}`).read('a'),
      /its certificate is signed by nobody who is trusted/,
    ],
    [
      'nothing listens',
      async () => await open('s3://plain/x?endpoint=http://127.0.0.1:9').read('a'),
      /ECONNREFUSED/,
    ],
  ];
  for (const [what, work, message] of cases)
    test(`says what is wrong: ${what}`, async () => {
      const { message: found, code, hint } = await failure(work());
      assert.match(found, message);
      assert.equal(code, 'failed');
      if (what !== 'nothing listens') assert.ok(hint);
    });

  test('takes keys from a profile, and from a program that it names', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'salvage-s3-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const { accessKeyId, secretAccessKey } = owner;
    const keys = { Version: 1, AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey };
    writeFileSync(join(folder, 'keys.json'), JSON.stringify(keys));
    writeFileSync(
      join(folder, 'config'),
      `[profile program]\ncredential_process = cat ${join(folder, 'keys.json')}\n`,
    );
    writeFileSync(
      join(folder, 'credentials'),
      `[plain]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`,
    );
    const environment = {
      AWS_ACCESS_KEY_ID: 'not-these',
      AWS_SECRET_ACCESS_KEY: 'not-these',
      AWS_CONFIG_FILE: join(folder, 'config'),
      AWS_SHARED_CREDENTIALS_FILE: join(folder, 'credentials'),
    };
    await withEnvironment(environment, async () => {
      for (const profile of ['plain', 'program']) {
        const storage = open(`s3://plain/profiles?profile=${profile}`);
        assert.equal(await storage.create(`by-${profile}`, some), 'created');
        await storage.close();
      }
    });
  });

  test('trusts a certificate that the URL names', async () => {
    const url = `s3://plain/tls?endpoint=${gateway.tlsEndpoint}&ca=${gateway.certificate}`;
    const storage = open(url);
    assert.equal(await storage.create('object', some), 'created');
    await storage.close();
  });
});

suite('s3 storage behind a bad line', needsPeers, () => {
  let proxy: HttpProxy;
  let inner: S3Storage;
  let storage: RetryingStorage;

  before(async () => {
    proxy = await HttpProxy.start(gateway.endpoint);
    const url = `s3://versioned/line?endpoint=${proxy.endpoint}&part-size=5M`;
    inner = openS3(url, { env: process.env, retries: impatient });
    storage = new RetryingStorage(inner, impatient);
  });
  after(async () => {
    await storage.close();
    await proxy.close();
  });

  test('errors that pass are marked, and no other', async () => {
    proxy.reset();
    const retrying = new RetryingStorage(inner, { ...impatient, patienceMs: 0 });
    for (const answer of ['slow down', 'cut', 'cut reply', 'cut in reply'] as const) {
      proxy.plan = () => 'pass';
      await retrying.create('there', [randomBytes(1000)]);
      proxy.plan = () => answer;
      const { cause } = await failure(retrying.read('there'));
      assert.equal((cause as Error).name, 'TransientError', answer);
    }
  });

  test('every request is asked again, and nothing is stored twice', async () => {
    for (const answer of ['slow down', 'cut', 'cut reply', 'cut in reply'] as const) {
      proxy.reset();
      proxy.plan = (_, count) => (count === 0 ? answer : 'pass');
      const name = `packs/${answer.replaceAll(' ', '-')}`;
      const body = randomBytes(200_000);
      assert.equal(await storage.create(name, [body]), 'created');
      assert.deepEqual(Buffer.from((await storage.read(name))!), body);
      assert.equal((await storage.stat(name))?.sizeBytes, 200_000);
      const listed = [];
      for await (const object of storage.list('packs/')) listed.push(object.name);
      assert.ok(listed.includes(name));
      const versions = [];
      for await (const version of storage.versions!.list(name)) versions.push(version);
      assert.equal(versions.length, 1, answer);
      assert.equal(await storage.remove(name), 'removed');
    }
  });

  test('a part of an upload is sent again; memory stays bounded, and parts travel side by side', async () => {
    proxy.reset();
    const held = Promise.withResolvers<void>();
    let pulled = 0;
    let underWay = 0;
    proxy.plan = async ({ path }, count) => {
      if (!path.includes('partNumber=')) return 'pass';
      if (count > 0) return 'pass';
      underWay++;
      if (underWay === 4) held.resolve();
      await held.promise;
      return underWay % 2 ? 'slow down' : 'cut';
    };
    const piece = randomBytes(1024 * 1024);
    const hash = createHash('sha256');
    async function* body(): AsyncGenerator<Uint8Array> {
      for (let index = 0; index < 42; index++) {
        if (underWay < 4) pulled++;
        hash.update(piece);
        yield piece;
        await Promise.resolve();
      }
    }
    assert.equal(await storage.createFromStream('archives/long.age', body()), 'created');
    assert.ok(pulled <= 5 * 6, `${pulled} MiB were taken before the first part had gone`);
    const stored = (await storage.read('archives/long.age'))!;
    assert.equal(createHash('sha256').update(stored).digest('hex'), hash.digest('hex'));
  });

  test('an upload that fails leaves nothing behind', async () => {
    proxy.reset();
    async function* body(): AsyncGenerator<Uint8Array> {
      for (let index = 0; index < 3; index++) yield randomBytes(5 * 1024 * 1024);
      await Promise.resolve();
      throw new Error('the source has gone away');
    }
    await assert.rejects(storage.createFromStream('archives/torn.age', body()), /gone away/);
    assert.equal(await storage.stat('archives/torn.age'), undefined);
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: 'versioned' }));
    assert.deepEqual(Uploads, []);
  });

  test('a server that knows no conditions is sent none', async () => {
    for (const name of ['simple', 'long']) {
      proxy.reset();
      const other = openS3(`s3://plain/unconditional?endpoint=${proxy.endpoint}&part-size=5M`, {
        env: process.env,
        retries: impatient,
      });
      proxy.plan = ({ method, path }, count) => {
        const isLast = name === 'simple' ? method === 'PUT' : method === 'POST' && path.includes('uploadId');
        return isLast && count === 0 ? 'not implemented' : 'pass';
      };
      const body = [randomBytes(name === 'simple' ? 100 : 66 * 1024 * 1024)];
      assert.equal(await other.create(name, body), 'created');
      assert.equal((await other.stat(name))?.sizeBytes, body[0]!.length);
      await other.close();
    }
  });

  test('digests of each kind, with and without locks, in one part and in many', async () => {
    proxy.reset();
    for (const checksums of ['sha256', 'md5', 'none']) {
      const other = open(`s3://locked/digests-${checksums}?checksums=${checksums}&part-size=5M`);
      for (const isLocked of [false, true]) {
        const until = new Date(Date.now() + hour);
        if (isLocked) other.objectLock.lockNew({ mode: 'governance', until });
        for (const pieces of [1, 7]) {
          const name = `${isLocked}/${pieces}`;
          async function* body(): AsyncGenerator<Uint8Array> {
            for (let piece = 0; piece < pieces; piece++) yield Buffer.alloc(1024 * 1024, piece);
            await Promise.resolve();
          }
          assert.equal(await other.createFromStream(name, body()), 'created');
          const bytes = (await other.read(name))!;
          assert.equal(bytes.length, pieces * 1024 * 1024);
          assert.equal(bytes.at(-1), pieces - 1);
          const object = { Bucket: 'locked', Key: `digests-${checksums}/${name}` };
          const retention = client.send(new GetObjectRetentionCommand(object));
          if (isLocked) assert.equal((await retention).Retention?.Mode, 'GOVERNANCE');
          else await assert.rejects(retention);
        }
      }
      await other.close();
    }
  });

  test('a reply without end is cut off', async () => {
    proxy.reset();
    proxy.plan = () => 'endless';
    const { message } = await failure(inner.list('').next());
    assert.match(message, /Cannot list ""/);
    const sent = proxy.requests.reduce((sum, { bytes }) => sum + bytes, 0);
    assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes`);
  });

  test('a pack whose bytes are not those of its name is refused by the server', async () => {
    proxy.reset();
    const name = `packs/aa/${'a'.repeat(64)}.age`;
    const { message } = await failure(inner.create(name, some));
    assert.match(message, /Cannot store/);
    assert.equal(await storage.stat(name), undefined);
  });
});

suite('uploads that came to no end', needsPeers, () => {
  test('old ones of ours are ended, and no others', async () => {
    const Bucket = 'plain';
    const begin = async (by: S3Client, Key: string): Promise<string> =>
      (await by.send(new CreateMultipartUploadCommand({ Bucket, Key }))).UploadId!;
    const long = { Bucket, Key: 'ended/archives/long.age', UploadId: '' };
    for (const Key of ['ended/a.age', 'ended/packs/b.age', 'ended/film.mp4', 'other/c.age', 'ended2/d.age'])
      await begin(client, Key);
    long.UploadId = await begin(client, long.Key);
    const storage = open('s3://plain/ended');
    assert.equal(await storage.removeUnfinished(24 * hour), 0, 'they are not old');
    await storage.close();

    const endpoint = await gateway.startLater(2);
    const later = gateway.client(owner, { endpoint, clockOffsetMs: 2 * 24 * hour });
    const { ETag } = await later.send(new UploadPartCommand({ ...long, PartNumber: 1, Body: 'a part' }));
    await begin(later, 'ended/young.age');
    const then = open(`s3://plain/ended?endpoint=${endpoint}`);
    // The first answer tells the SDK how far its clock is off.
    assert.equal(await then.stat('any'), undefined);
    assert.equal(await then.removeUnfinished(24 * hour), 2);
    await then.close();

    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket }));
    assert.deepEqual(
      Uploads.map(({ Key }) => Key),
      ['ended/archives/long.age', 'ended/film.mp4', 'ended/young.age', 'ended2/d.age', 'other/c.age'],
    );
    // Whose upload is a long one comes to its end.
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
    await client.send(new CompleteMultipartUploadCommand({ ...long, MultipartUpload }));
  });
});

suite('Object Lock', needsPeers, () => {
  const now = Math.ceil(Date.now() / 1000) * 1000;
  const until = (days: number): Date => new Date(now + days * 24 * hour);
  const version = async (Key: string): Promise<{ Bucket: string; Key: string; VersionId: string }> => {
    const { Versions = [] } = await client.send(
      new ListObjectVersionsCommand({ Bucket: 'locked', Prefix: Key }),
    );
    const oldest = Versions.findLast((version) => version.Key === Key)!;
    return { Bucket: 'locked', Key, VersionId: oldest.VersionId! };
  };
  const lockedUntil = async (Key: string): Promise<Date | undefined> => {
    const { Retention } = await client.send(new GetObjectRetentionCommand(await version(Key)));
    return Retention?.RetainUntilDate;
  };

  test('locks what is new, extends what is old, and never shortens', async (t) => {
    const names = Array.from({ length: 40 }, (_, index) => `packs/${index}`);
    const first = open('s3://locked/lock');
    first.objectLock.lockNew({ mode: 'compliance', until: until(2) });
    await Promise.all(names.map(async (name) => await first.create(name, some)));
    assert.deepEqual(await lockedUntil('lock/packs/0'), until(2));
    await first.close();
    const proxy = await HttpProxy.start(gateway.endpoint);
    t.after(async () => await proxy.close());
    const second = open(`s3://locked/lock?endpoint=${proxy.endpoint}`);
    second.objectLock.lockNew({ mode: 'compliance', until: until(5) });
    await second.create('packs/new', some);
    proxy.reset();
    await second.objectLock.extend([...names, 'packs/new'], { mode: 'compliance', until: until(5) });
    // One listing for all, and nothing for what this instance has just locked.
    assert.equal(proxy.requests.length, 1 + names.length);
    assert.deepEqual(await lockedUntil('lock/packs/39'), until(5));
    await second.objectLock.extend(['packs/1'], { mode: 'compliance', until: until(3) });
    assert.deepEqual(await lockedUntil('lock/packs/1'), until(5));
    const { message } = await failure(
      second.objectLock.extend(['packs/absent'], { mode: 'compliance', until: until(3) }),
    );
    assert.match(message, /Cannot extend the lock of "packs\/absent"/);
    await second.close();
  });

  test('extends the lock of the original, not of what was written over it', async () => {
    const storage = open('s3://locked/over');
    storage.objectLock.lockNew({ mode: 'governance', until: until(1) });
    await storage.create('pack', some);
    await client.send(new PutObjectCommand({ Bucket: 'locked', Key: 'over/pack', Body: 'forged' }));
    await storage.close();
    const other = open('s3://locked/over');
    await other.objectLock.extend(['pack'], { mode: 'governance', until: until(9) });
    assert.deepEqual(await lockedUntil('over/pack'), until(9));
    await other.close();
  });

  test('a lock holds until its time, and then ends', async () => {
    const storage = open('s3://locked/expiry');
    storage.objectLock.lockNew({ mode: 'compliance', until: until(1) });
    await storage.create('pack', some);
    await storage.close();
    const locked = new DeleteObjectCommand(await version('expiry/pack'));
    await assert.rejects(client.send(locked), { name: 'AccessDenied' });
    const endpoint = await gateway.startLater(2);
    const later = gateway.client(owner, { endpoint, clockOffsetMs: 2 * 24 * hour });
    await later.send(new DeleteObjectCommand(locked.input));
    const { Versions = [] } = await client.send(
      new ListObjectVersionsCommand({ Bucket: 'locked', Prefix: 'expiry/' }),
    );
    assert.deepEqual(Versions, []);
  });
});

async function withEnvironment<T>(
  changes: Readonly<Record<string, string>>,
  work: () => Promise<T>,
): Promise<T> {
  const before = { ...process.env };
  Object.assign(process.env, changes);
  try {
    return await work();
  } finally {
    Object.assign(process.env, before);
  }
}
