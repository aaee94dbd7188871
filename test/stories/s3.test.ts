// The real binary against a real S3 server.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { startCephGateway, type CephGateway, type GatewayUser } from '../support/ceph-gateway.ts';
import { checkoutSalvage, createSandbox, salvage, type RunResult } from '../support/cli.ts';
import { HttpProxy } from '../support/http-proxy.ts';
import { needsPeers } from '../support/peers.ts';

/** Of `verify --json`. */
interface Event {
  readonly event: string;
  readonly kind: string;
}

suite('a repository at S3', needsPeers, () => {
  const box = createSandbox({ after });
  let gateway: CephGateway;
  let user: GatewayUser;
  let client: S3Client;
  let proxy: HttpProxy;
  const repo = 's3://backups/web-1';
  const signed = ['--allowed-signers', 'allowed', '--signer', 'web-1'];

  const run = async (args: readonly string[], endpoint = gateway.endpoint): Promise<RunResult> => {
    const env = { ...gateway.environment(user), AWS_ENDPOINT_URL_S3: endpoint, SALVAGE_REPOSITORY: repo };
    return await box.salvage(args, { env });
  };
  const works = async (args: readonly string[], endpoint?: string): Promise<RunResult> => {
    const result = await run(args, endpoint);
    assert.equal(result.code, 0, `salvage ${args.join(' ')}\n${result.stderr}`);
    return result;
  };

  before(async () => {
    gateway = await startCephGateway();
    proxy = await HttpProxy.start(gateway.endpoint);
    user = gateway.createUser('owner');
    client = gateway.client(user);
    await client.send(new CreateBucketCommand({ Bucket: 'backups', ObjectLockEnabledForBucket: true }));
    await box.shell(`ssh-keygen -q -t ed25519 -N '' -f id`);
    for (let folder = 0; folder < 20; folder++) {
      mkdirSync(box.path(`src/d${folder}`), { recursive: true });
      for (let file = 0; file < 60; file++)
        writeFileSync(box.path(`src/d${folder}/f${file}`), randomBytes(20_000));
    }
    writeFileSync(box.path('src/d7/wanted'), 'the one file that is wanted\n');
  });

  after(async () => {
    await proxy.close();
    await gateway.close();
  });

  test('init, two backups, verify and restore, all of it locked', async () => {
    const made = await works(['init', '-R', 'id.pub', '--name', 'web-1', '--lock-days', '7']);
    assert.match(made.stderr, /Nobody can destroy what a snapshot needs before 7 days are over/);
    box.write('allowed', made.stdout);
    await works(['backup', 'src']);
    await box.shell('echo more > src/more');
    proxy.reset();
    const second = await works(['backup', '--json', 'src'], proxy.endpoint);
    const summary = JSON.parse(second.stdout.toString().trim().split('\n').at(-1)!) as { bytesRead: number };
    assert.equal(summary.bytesRead, 5);
    // What the first one locked is locked for long enough.
    assert.deepEqual(
      proxy.requests.filter(({ path }) => path.includes('retention')).map(({ path }) => path),
      [],
    );
    await works(['verify', ...signed, '--read-data']);
    await works(['restore', 'latest', ...signed, '-i', 'id', '--target', 'restored']);
    await box.shell('diff -r src restored/src');
    const { Versions = [] } = await client.send(new ListObjectVersionsCommand({ Bucket: 'backups' }));
    assert.equal(new Set(Versions.map(({ Key }) => Key)).size, Versions.length, 'nothing was stored twice');
  });

  test('locks that are about to end are extended, and an upload to a shaky server comes to its end', async () => {
    // As if seven days had gone by: nothing is remembered of any lock.
    await box.shell('rm .home/.cache/salvage/*/locks; echo changed > src/more');
    proxy.reset();
    proxy.plan = ({ path }, count) => {
      const isFirst = count === 0 && createHash('sha256').update(path).digest()[0]! < 64;
      return isFirst ? 'slow down' : 'pass';
    };
    const shaky = await works(['backup', 'src'], proxy.endpoint);
    assert.match(shaky.stderr, /Please reduce your request rate.*Trying again in \d+ s/);
    const packs = new Set(
      proxy.requests
        .filter(({ method, path }) => method === 'PUT' && path.includes('retention'))
        .map(({ path }) => path),
    );
    assert.ok(packs.size >= 4, `${packs.size} locks were extended`);
    await works(['verify', ...signed]);
  });

  test('one small file costs few requests', async (t) => {
    proxy.reset();
    const args = ['restore', 'latest', 'src/d7/wanted', ...signed, '-i', 'id', '--target', 'one'];
    await works(args, proxy.endpoint);
    assert.equal(box.read('one/src/d7/wanted').toString(), 'the one file that is wanted\n');
    const others = proxy.requests.filter(({ path }) => !path.includes('SHA256SUMS'));
    const bytes = others.reduce((sum, request) => sum + request.bytes, 0);
    t.diagnostic(`${others.length} requests, ${bytes} bytes besides the signed list`);
    assert.ok(others.length <= 12, others.map(({ method, path }) => `${method} ${path}`).join('\n'));
    assert.ok(bytes <= 3 * 1024 * 1024);
  });

  test('packs whose content was exchanged are restored from what they were', async () => {
    const Bucket = 'backups';
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'web-1/packs/' }));
    const forged = await box.shell('head -c 200000 /dev/urandom | age -R id.pub');
    for (const [index, { Key }] of Contents.entries()) {
      const { Body: body } = await client.send(new GetObjectCommand({ Bucket, Key }));
      const bytes = await body!.transformToByteArray();
      // One bit, far behind a header that still opens; or a pack of the attacker's own, for the right recipient.
      bytes[bytes.length >>> 1]! ^= 1;
      const Body = index % 2 ? forged.stdout : bytes;
      await client.send(new PutObjectCommand({ Bucket, Key, Body }));
    }
    const all = ['restore', 'latest', ...signed, '-i', 'id'];
    const { stderr } = await works([...all, '--target', 'rescued', '--verify']);
    assert.match(stderr, /was overwritten at .*What was signed is still there as an older version/);
    await box.shell('diff -r src rescued/src');
    await works([...all, 'src/d7/wanted', '--target', 'rescued-one']);
    assert.equal(box.read('rescued-one/src/d7/wanted').toString(), 'the one file that is wanted\n');
    const found = await run(['verify', ...signed, '-i', 'id', '--json']);
    assert.equal(found.code, 13);
    const events = found.stdout
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Event);
    const troubles = events.filter(({ event }) => event === 'trouble').map(({ kind }) => kind);
    assert.deepEqual(
      troubles,
      Contents.map(() => 'superseded-object'),
    );
    // With the newest snapshot out of sight the one before it is the latest: not without a word.
    const last = JSON.parse(
      (await works(['snapshots', ...signed, '--json'])).stdout.toString().trim().split('\n').at(-1)!,
    ) as { id: string };
    for (const file of ['snapshot.json', 'root.age', 'SHA256SUMS', 'SHA256SUMS.sig'])
      await client.send(new DeleteObjectCommand({ Bucket, Key: `web-1/snapshots/${last.id}/${file}` }));
    const older = await run(['ls', 'latest', ...signed, '-i', 'id', '--state', 'nothing-seen-yet']);
    assert.match(older.stderr, new RegExp(`Snapshot ${last.id} was removed at`));
  });

  test('the commands of docs/manual/storage-s3.md work', async (t) => {
    const Bucket = 'example-backups';
    await client.send(new CreateBucketCommand({ Bucket, ObjectLockEnabledForBucket: true }));
    const page = join(import.meta.dirname, '..', '..', 'docs', 'manual', 'storage-s3.md');
    const text = readFileSync(page, 'utf8');
    const blocks = [...text.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, block]) => block!);
    assert.ok(blocks.length > 0);
    const manual = createSandbox(t);
    const { code, stderr } = await manual.shell(`set -x\n${blocks.join('\n')}`, {
      env: gateway.environment(user),
    });
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, /^(salvage|warning):/m);
  });

  test('what is locked is rewrapped all the same: it stays, and what stands for it is locked as well', async () => {
    const repo = ['--repo', 's3://backups/rewrapped'];
    await box.shell(
      'mkdir little; echo content > little/file; salvage keygen -o new.key 2> new.txt; salvage keygen -y new.key > new.pub',
    );
    const made = await works(['init', ...repo, '-R', 'id.pub', '--name', 'little', '--lock-days', '7']);
    box.write('little-signer', made.stdout);
    await works(['backup', ...repo, 'little']);
    const versions = async (): Promise<string[]> => {
      const listing = new ListObjectVersionsCommand({ Bucket: 'backups', Prefix: 'rewrapped/' });
      const { Versions = [], DeleteMarkers = [] } = await client.send(listing);
      assert.equal(DeleteMarkers.length, 0);
      return Versions.map(({ Key, VersionId }) => `${Key} ${VersionId}`);
    };
    const before = await versions();
    const trust = ['--allowed-signers', 'little-signer'];
    await works(['recipients', 'rewrap', ...repo, ...trust, '-i', 'id', '-R', 'new.pub', '--lock-days', '7']);
    const after = await versions();
    assert.ok(before.every((version) => after.includes(version)));
    const added = after
      .filter((version) => !before.includes(version))
      .map((version) => version.split(' ')[0]!);
    assert.equal(added.length, 6, added.join('\n'));
    for (const Key of added) {
      const { ObjectLockRetainUntilDate: until } = await client.send(
        new HeadObjectCommand({ Bucket: 'backups', Key }),
      );
      assert.ok(until && until.getTime() > Date.now() + 6 * 86_400_000, Key);
    }
    await works(['restore', ...repo, '-i', 'new.key', '--target', 'rewrapped', 'latest']);
    await box.shell('diff -r little rewrapped/little');
  });

  test('a clock that is wrong is named', async () => {
    const env = { ...gateway.environment(user), SALVAGE_REPOSITORY: repo };
    const { code, stderr } = await box.program('faketime', ['-f', '+2h', salvage, 'snapshots'], { env });
    assert.equal(code, 1);
    assert.match(stderr, /this machine's clock and that of the server differ too much/);
  });

  test('the client of S3 is loaded for s3:// only', async () => {
    const hook = `import { registerHooks } from 'node:module';
      registerHooks({ load: (url, context, next) => {
        if (url.includes('@aws-sdk')) process.stderr.write('LOADED ' + url + '\\n');
        return next(url, context);
      } });`;
    const env = {
      ...gateway.environment(user),
      NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(hook)}`,
    };
    // A bundle has its modules in one file.
    const run = (...args: string[]): Promise<RunResult> => box.program(checkoutSalvage, args, { env });
    const local = await run('init', '--repo', 'local', '-R', 'id.pub', '--name', 'x');
    assert.equal(local.code, 0, local.stderr);
    for (const args of [['--version'], ['snapshots', '--repo', 'local'], ['restore', '--help']]) {
      const { stderr } = await run(...args);
      assert.doesNotMatch(stderr, /LOADED/, args.join(' '));
    }
    const remote = await run('snapshots', '--repo', repo);
    assert.match(remote.stderr, /LOADED .*client-s3/);
  });
});
