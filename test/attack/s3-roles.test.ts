// The bucket policies of deploy/s3 on a real S3 server: each role can do its work, and nothing that destroys.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteBucketPolicyCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutObjectAclCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  PutObjectLockConfigurationCommand,
  PutObjectRetentionCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { startCephGateway, type CephGateway, type GatewayUser } from '../support/ceph-gateway.ts';
import { createSandbox, type RunResult, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';

const roles = ['host', 'keeper', 'auditor', 'restorer'] as const;
type Role = (typeof roles)[number];
const deploy = join(import.meta.dirname, '..', '..', 'deploy', 's3');
const Bucket = 'backups';
const repo = `s3://${Bucket}/web-1`;
const signed = ['--allowed-signers', 'allowed', '--signer', 'web-1'];

suite('roles of an S3 bucket', needsPeers, () => {
  let gateway: CephGateway;
  let owner: S3Client;
  const box: Sandbox = createSandbox({ after });
  const users = {} as Record<Role, GatewayUser>;
  const clients = {} as Record<Role, S3Client>;
  /** An object of each kind, with the version that the host stored. */
  const objects = {} as Record<'pack' | 'signature' | 'repository', { Key: string; VersionId: string }>;

  const as = async (role: Role, args: readonly string[]): Promise<RunResult> => {
    return await box.salvage(args, { env: gateway.environment(users[role]) });
  };
  const works = async (role: Role, ...args: string[]): Promise<RunResult> => {
    const result = await as(role, [args[0]!, '--repo', repo, ...args.slice(1)]);
    assert.equal(result.code, 0, `${role}: salvage ${args.join(' ')}\n${result.stderr}`);
    return result;
  };
  const refused = async (role: Role, what: string, command: object): Promise<void> => {
    await assert.rejects(
      clients[role].send(command as never),
      ({ name }: Error) => name === 'AccessDenied',
      `${role} must not ${what}`,
    );
  };

  before(async () => {
    gateway = await startCephGateway();
    owner = gateway.client(gateway.createUser('owner'));
    await owner.send(new CreateBucketCommand({ Bucket, ObjectLockEnabledForBucket: true }));
    for (const role of roles) {
      users[role] = gateway.createUser(role);
      clients[role] = gateway.client(users[role]);
    }
    await owner.send(new PutBucketPolicyCommand({ Bucket, Policy: bucketPolicy('web-1') }));
    const LifecycleConfiguration = JSON.parse(readFileSync(join(deploy, 'lifecycle.json'), 'utf8'));
    await owner.send(new PutBucketLifecycleConfigurationCommand({ Bucket, LifecycleConfiguration }));
    await owner.send(new PutObjectCommand({ Bucket, Key: 'web-2/packs/secret', Body: 'of another host' }));
    await box.shell(`for name in id keeper; do ssh-keygen -q -t ed25519 -N '' -f $name; done
      mkdir src; echo precious > src/file`);
    const made = await works(
      'host',
      'init',
      '-R',
      'id.pub',
      '--name',
      'web-1',
      '--lock-days',
      '3',
      '--lock-mode',
      'governance',
    );
    box.write('allowed', made.stdout);
    await works('host', 'backup', 'src');
    await works('host', 'backup', 'src');
    const { Versions = [] } = await owner.send(new ListObjectVersionsCommand({ Bucket, Prefix: 'web-1/' }));
    const find = (pattern: RegExp): { Key: string; VersionId: string } => {
      const { Key, VersionId } = Versions.find((version) => pattern.test(version.Key!))!;
      return { Key: Key!, VersionId: VersionId! };
    };
    objects.pack = find(/packs\//);
    objects.signature = find(/SHA256SUMS\.sig$/);
    objects.repository = find(/repository\.json$/);
  });

  after(async () => {
    await gateway.close();
  });

  test('each role can do its work', async () => {
    await works('auditor', 'verify', ...signed, '--read-data');
    await works('restorer', 'restore', 'latest', ...signed, '-i', 'id', '--target', 'restored');
    assert.equal(box.read('restored/src/file').toString(), 'precious\n');
    await works('host', 'backup', 'src');
    // Not even the keeper's own work destroys anything before the versions have had their time.
    const forget = await works('keeper', 'forget', ...signed, '--keep-last', '2', '--signing-key', 'keeper');
    assert.match(forget.stderr, /Forgot 1 snapshot, and kept 2/);
    await works('keeper', 'prune', ...signed, '--signing-key', 'keeper');
    await box.shell(`cp allowed both
      echo "keeper namespaces=\\"salvage-keeper\\" $(cat keeper.pub)" >> both`);
    const { stderr } = await works('auditor', 'verify', '--allowed-signers', 'both', '--signer', 'web-1');
    assert.match(stderr, /1 snapshot removed by the keeper, as its signed records say/);
  });

  for (const role of roles) {
    test(`${role} can destroy nothing and shorten no lock`, async () => {
      const soon = new Date(Date.now() + 3_600_000);
      for (const { Key, VersionId } of Object.values(objects)) {
        const version = { Bucket, Key, VersionId };
        await refused(role, `delete ${Key}`, new DeleteObjectCommand(version));
        await refused(
          role,
          `delete ${Key} past its lock`,
          new DeleteObjectCommand({ ...version, BypassGovernanceRetention: true }),
        );
        const Retention = { Mode: 'GOVERNANCE', RetainUntilDate: soon } as const;
        for (const BypassGovernanceRetention of [false, true])
          await refused(
            role,
            `shorten the lock of ${Key}`,
            new PutObjectRetentionCommand({ ...version, Retention, BypassGovernanceRetention }),
          );
        await refused(
          role,
          `hold ${Key}`,
          new PutObjectLegalHoldCommand({ ...version, LegalHold: { Status: 'ON' } }),
        );
        await refused(role, `share ${Key}`, new PutObjectAclCommand({ Bucket, Key, ACL: 'public-read' }));
      }
      await refused(role, 'delete the bucket', new DeleteBucketCommand({ Bucket }));
      await refused(role, 'lift the policy', new DeleteBucketPolicyCommand({ Bucket }));
      await refused(
        role,
        'change the policy',
        new PutBucketPolicyCommand({ Bucket, Policy: bucketPolicy('web-2') }),
      );
      await refused(
        role,
        'suspend versions',
        new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Suspended' } }),
      );
      await refused(
        role,
        'change the locks of the bucket',
        new PutObjectLockConfigurationCommand({
          Bucket,
          ObjectLockConfiguration: { ObjectLockEnabled: 'Enabled' },
        }),
      );
      await refused(
        role,
        'have everything expire',
        new PutBucketLifecycleConfigurationCommand({
          Bucket,
          LifecycleConfiguration: { Rules: [{ Status: 'Enabled', Prefix: '', Expiration: { Days: 1 } }] },
        }),
      );
    });

    test(`${role} sees nothing of another repository`, async () => {
      const Key = 'web-2/packs/secret';
      await refused(role, 'read it', new GetObjectCommand({ Bucket, Key }));
      await refused(role, 'list it', new ListObjectsV2Command({ Bucket, Prefix: 'web-2/' }));
      await refused(role, 'list everything', new ListObjectsV2Command({ Bucket }));
      await refused(role, 'list versions', new ListObjectVersionsCommand({ Bucket, Prefix: 'web-2/' }));
      await refused(role, 'write to it', new PutObjectCommand({ Bucket, Key, Body: 'x' }));
      await refused(role, 'delete it', new DeleteObjectCommand({ Bucket, Key }));
    });
  }

  test('a host reads no content back, and removes nothing from sight', async () => {
    const { Key, VersionId } = objects.pack;
    const root = objects.signature.Key.replace('SHA256SUMS.sig', 'root.age');
    await refused('host', 'read a pack', new GetObjectCommand({ Bucket, Key }));
    await refused('host', 'read its version', new GetObjectCommand({ Bucket, Key, VersionId }));
    await refused('host', 'read a root', new GetObjectCommand({ Bucket, Key: root }));
    await refused('host', 'remove a pack', new DeleteObjectCommand({ Bucket, Key }));
    const Objects = [{ Key }, { Key, VersionId }];
    await refused('host', 'remove many', new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
  });

  test('keeper, auditor and restorer write nothing that a reader takes for a backup', async () => {
    for (const role of ['keeper', 'auditor', 'restorer'] as const)
      for (const { Key } of Object.values(objects))
        await refused(role, `write over ${Key}`, new PutObjectCommand({ Bucket, Key, Body: 'x' }));
    for (const role of ['auditor', 'restorer'] as const) {
      const { Key } = objects.pack;
      await refused(role, 'remove a pack', new DeleteObjectCommand({ Bucket, Key }));
      await refused(
        role,
        'write a record',
        new PutObjectCommand({ Bucket, Key: 'web-1/keeper/x', Body: 'x' }),
      );
    }
    const Key = objects.repository.Key;
    await refused('keeper', 'remove repository.json', new DeleteObjectCommand({ Bucket, Key }));
  });

  test('an auditor stores requests for healing and nothing else, and the host reads them', async () => {
    const Key = 'web-1/healing/20261123T000000Z-00000000.json';
    await clients.auditor.send(new PutObjectCommand({ Bucket, Key, Body: 'please' }));
    const { Body } = await clients.host.send(new GetObjectCommand({ Bucket, Key }));
    assert.equal(await Body!.transformToString(), 'please');
    await refused('restorer', 'ask for healing', new PutObjectCommand({ Bucket, Key, Body: 'x' }));
    const pack = `web-1/packs/aa/${'a'.repeat(64)}.age`;
    await refused('auditor', 'store a pack', new PutObjectCommand({ Bucket, Key: pack, Body: 'x' }));
  });

  test('whoever holds the keys of host and keeper hides and overwrites all, and all is restored', async () => {
    const { Contents = [] } = await owner.send(new ListObjectsV2Command({ Bucket, Prefix: 'web-1/' }));
    for (const { Key } of Contents) {
      await clients.host.send(new PutObjectCommand({ Bucket, Key, Body: 'ransom' }));
      if (/packs|index|snapshots/.test(Key!))
        await clients.keeper.send(new DeleteObjectCommand({ Bucket, Key }));
    }
    const snapshots = await works('restorer', 'snapshots', ...signed, '--json');
    const ids = snapshots.stdout
      .toString()
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { id: string }).id);
    assert.equal(ids.length, 3);
    const found = await as('auditor', ['verify', '--repo', repo, ...signed, '--read-data']);
    assert.equal(found.code, 13);
    assert.match(found.stderr, /Snapshot \S+ was removed at .*by somebody with the right to do so/);
    const target = ['--target', 'rescued'];
    const restored = await works('restorer', 'restore', ids.at(-1)!, ...signed, '-i', 'id', ...target);
    assert.match(restored.stderr, /was overwritten at|was removed at/);
    assert.equal(box.read('rescued/src/file').toString(), 'precious\n');
  });
});

/** The four templates with the placeholders filled in, as one policy. */
function bucketPolicy(prefix: string): string {
  const statements = roles.flatMap((role) => {
    const template = readFileSync(join(deploy, `${role}.json`), 'utf8')
      .replaceAll('PRINCIPAL', `arn:aws:iam:::user/${role}`)
      .replaceAll('BUCKET', Bucket)
      .replaceAll('PREFIX', prefix);
    return (JSON.parse(template) as { Statement: object[] }).Statement;
  });
  return JSON.stringify({ Version: '2012-10-17', Statement: statements });
}
