// `salvage copy` as a user meets it: what it says, and how it ends.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectRetentionCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { startCephGateway, type CephGateway, type GatewayUser } from '../support/ceph-gateway.ts';
import { createSandbox, type RunResult, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';

describe('salvage copy', () => {
  const box: Sandbox = createSandbox({ after });
  const signers = ['--allowed-signers', 'allowed', '--signer', 'web-1'];
  const copy = (...args: string[]): Promise<RunResult> => box.salvage(['copy', ...args]);

  before(async () => {
    box.write('data/file', randomBytes(100_000));
    const { code, stderr } = await box.shell(`
      ssh-keygen -q -t ed25519 -N '' -f key
      salvage init --repo here -R key.pub --name web-1 > allowed
      salvage backup --repo here data
      echo more > data/more
      salvage backup --repo here data
      salvage init --repo other -R key.pub --name web-1 2>&1
    `);
    assert.equal(code, 0, stderr);
  });

  test('tells what it does as it does it; the copy is restored as it was', async () => {
    const { code, stdout, stderr } = await copy('here', 'there', ...signers, '--json');
    assert.deepEqual([code, stderr.replace(/^.*(?:copied|newest).*\n/gm, '')], [0, '']);
    const events = stdout.toString().trim().split('\n').map(parse);
    const names = events.map(({ event }) => event).filter((event) => event !== 'progress');
    assert.deepEqual(names, ['plan', 'snapshot', 'snapshot', 'summary']);
    const restore = ['restore', 'latest', '--repo', 'there', ...signers, '-i', 'key', '--target', 'restored'];
    assert.equal((await box.salvage(restore)).code, 0);
    assert.deepEqual(box.read('restored/data/file'), box.read('data/file'));
  });

  test('says that signatures were not checked by a list, and needs no identity', async () => {
    const { code, stderr } = await copy('here', 'unchecked');
    assert.equal(code, 0);
    assert.match(stderr, /warning: .*nobody said whose to trust/);
    const { code: refused, stderr: why } = await copy('here', 'unchecked', '-i', 'key');
    assert.equal(refused, 2);
    assert.match(why, /unknown option '-i'/);
  });

  for (const [what, args, code, message] of [
    ['an unknown snapshot', ['here', 'x', '--snapshot', '9'], 2, /Cannot select the snapshot "9"/],
    ['a share that is none', ['here', 'x', '--shard', '3/2'], 2, /Cannot use --shard 3\/2/],
    ['the same place', ['here', './here/'], 2, /to itself/],
    ['no repository', ['nowhere', 'x'], 10, /there is none/],
    ['a place that is taken', ['here', 'other'], 1, /it holds another repository/],
  ] as const)
    test(`ends with exit code ${code} for ${what}`, async () => {
      const result = await copy(...args, ...signers);
      assert.equal(result.code, code, result.stderr);
      assert.match(result.stderr, message);
    });

  test('ends with exit code 13 if the source is damaged, and copies the rest', async () => {
    const packsOf = (number: number): string[] => {
      const [list] = globSync(box.path(`here/snapshots/0000000${number}-*/SHA256SUMS`));
      return readFileSync(list!, 'utf8').match(/packs\/\S+/g)!;
    };
    const older = packsOf(1);
    const name = packsOf(2).find((pack) => !older.includes(pack))!;
    const path = box.path('here', name);
    const bytes = readFileSync(path);
    rmSync(path);
    bytes[100]! ^= 1;
    writeFileSync(path, bytes);
    const { code, stderr } = await copy('here', 'half', ...signers);
    assert.equal(code, 13, stderr);
    assert.match(stderr, new RegExp(`Cannot trust "${name}"`));
    assert.match(stderr, /Snapshot 00000002-.* is not copied/);
    assert.match(stderr, /1 snapshot copied/);
    // From a good copy the damaged source comes back.
    rmSync(path);
    assert.equal((await copy('there', 'here', '--repair', ...signers)).code, 0);
    assert.equal((await copy('here', 'half', ...signers)).code, 0);
    const { code: verified } = await box.salvage(['verify', '--repo', 'half', ...signers, '--read-data']);
    assert.equal(verified, 0);
  });
});

describe('salvage copy to a bucket with Object Lock', needsPeers, () => {
  const box: Sandbox = createSandbox({ after });
  let gateway: CephGateway;
  let user: GatewayUser;

  before(async () => {
    gateway = await startCephGateway();
    user = gateway.createUser('keeper');
    const client = gateway.client(user);
    await client.send(new CreateBucketCommand({ Bucket: 'far-away', ObjectLockEnabledForBucket: true }));
  });
  after(() => gateway.close());

  test('locks what it stores; what is overwritten or removed is copied back all the same', async () => {
    const env = { ...gateway.environment(user), AWS_ENDPOINT_URL_S3: gateway.endpoint };
    const works = async (script: string): Promise<RunResult> => {
      const result = await box.shell(script, { env });
      assert.equal(result.code, 0, result.stderr);
      return result;
    };
    await works(`
      mkdir data && head -c 100000 /dev/urandom > data/file
      ssh-keygen -q -t ed25519 -N '' -f key
      salvage init --repo here -R key.pub --name web-1 > allowed
      salvage backup --repo here data
      salvage copy here s3://far-away/web-1 --allowed-signers allowed --lock-days 7
      echo more > data/more
      salvage backup --repo here data
      salvage copy here s3://far-away/web-1 --allowed-signers allowed --lock-days 7
    `);
    const client = gateway.client(user);
    const names = globSync('packs/*/*', { cwd: box.path('here') });
    const areLocked = async (days: number, objects: readonly string[]): Promise<void> => {
      for (const name of objects) {
        const place = { Bucket: 'far-away', Key: `web-1/${name}` };
        const { Retention } = await client.send(new GetObjectRetentionCommand(place));
        assert.equal(Retention?.Mode, 'COMPLIANCE');
        assert.ok(Retention.RetainUntilDate!.getTime() > Date.now() + days * 86_400_000, name);
      }
    };
    await areLocked(6, names);
    // Nothing new: what is there is locked for longer.
    await works('salvage copy here s3://far-away/web-1 --allowed-signers allowed --lock-days 30');
    const newest = globSync('snapshots/*', { cwd: box.path('here') })
      .toSorted()
      .at(-1)!;
    const needed = box
      .read(join('here', newest, 'SHA256SUMS'))
      .toString()
      .match(/packs\/\S+/g)!;
    await areLocked(29, [...needed, ...globSync(`${newest}/*`, { cwd: box.path('here') })]);
    await client.send(
      new PutObjectCommand({ Bucket: 'far-away', Key: `web-1/${names[0]!}`, Body: 'something else' }),
    );
    await client.send(new DeleteObjectCommand({ Bucket: 'far-away', Key: `web-1/${names[1]!}` }));
    const { stderr } = await works(`
      salvage copy s3://far-away/web-1 back --allowed-signers allowed
      salvage verify --repo back --allowed-signers allowed --read-data
    `);
    assert.match(stderr, /2 objects were overwritten or removed/);
  });
});

function parse(line: string): { readonly event: string } {
  return JSON.parse(line) as { readonly event: string };
}
