// What is released works alone: the single executable where there is no Node, the npm package with nothing beside it.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, suite, test } from 'node:test';
import { binaryName } from '../../tools/build-binary.ts';
import { pack } from '../../tools/build-package.ts';
import { makeRelease } from '../../tools/release.ts';
import { createSandbox } from '../support/cli.ts';

const root = join(import.meta.dirname, '..', '..');
const nativePackage = join(root, `node_modules/@koromix/koffi-${process.platform}-${process.arch}`);

const box = createSandbox({ after });
const release = box.path('release');
const key = box.path('release-key');
await box.program('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
const names = await makeRelease(release, key);
const salvage = join(release, binaryName());

test('a release has everything, in a signed list', async () => {
  const [tarball = ''] = names.filter((name) => name.endsWith('.tgz'));
  assert.deepEqual(
    names,
    [
      binaryName(),
      `${binaryName()}.cdx.json`,
      tarball,
      'SHA256SUMS',
      'SHA256SUMS.sig',
      'THIRD-PARTY-LICENSES.txt',
    ].toSorted(),
  );
  const sums = await box.program('sha256sum', ['-c', 'SHA256SUMS'], { cwd: 'release' });
  assert.equal(sums.stdout.toString().match(/: OK$/gm)?.length, 4, sums.stderr);
  box.write('signers', `release@example.org ${box.read('release-key.pub').toString()}`);
  const verify = ['-Y', 'verify', '-n', 'salvage-release', '-I', 'release@example.org', '-f', 'signers'];
  const checked = await box.program('ssh-keygen', [...verify, '-s', 'release/SHA256SUMS.sig'], {
    stdin: box.read('release/SHA256SUMS'),
  });
  assert.equal(checked.code, 0, checked.stderr);
  const licences = box.read('release/THIRD-PARTY-LICENSES.txt').toString();
  for (const name of ['@aws-sdk/client-s3', 'commander', 'koffi', 'valibot'])
    assert.match(licences, new RegExp(`^${name} \\d+\\.`, 'm'));
});

suite('the single executable', async () => {
  mkdirSync(box.path('bin'));
  for (const name of ['sh', 'cat', 'tar', 'ssh-keygen', 'ls', 'sha256sum'])
    symlinkSync(await which(name), box.path('bin', name));
  symlinkSync(salvage, box.path('bin', 'salvage'));
  const alone = { env: { PATH: box.path('bin'), NODE_OPTIONS: '--require=/nonexistent.js' } };
  const run = (...args: string[]): ReturnType<typeof box.program> => box.program(salvage, args, alone);
  async function works(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await run(...args);
    assert.equal(code, 0, stderr);
    return stdout.toString() + stderr;
  }
  async function which(name: string): Promise<string> {
    const { stdout } = await box.shell(`command -v ${name}`);
    return stdout.toString().trim();
  }

  box.write('data/file', 'precious');
  // Large enough to be handed to worker threads.
  box.write('data/large', Buffer.alloc(6_000_000, 'many bytes '));

  test('says its version', async () => assert.equal(await works('--version'), '0.1.0\n'));

  test('backs up, verifies and restores by itself', async () => {
    assert.match(await works('quickstart', 'data'), /all as they were/);
    const repository = box.path('.home/.local/share/salvage/repository');
    box.write('data/new', Buffer.alloc(3_000_000, 'more'));
    await works('backup', '--repo', repository, 'data');
    assert.match(await works('verify', '--repo', repository), /./);
    const identity = box.path('.home/.config/salvage/identity.txt');
    await works('restore', 'latest', '--repo', repository, '-i', identity, '--target', 'restored');
    for (const name of ['file', 'large', 'new'])
      assert.deepEqual(box.read(`restored/data/${name}`), box.read(`data/${name}`));
    assert.deepEqual(
      readFileSync(join(repository, 'recover.py')),
      readFileSync(join(root, 'src/repository/recovery/recover.py')),
    );
  });

  test('seals and opens archives, and reads keys with a passphrase', async () => {
    await box.program('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'pass phrase', '-f', box.path('key')]);
    box.write('passphrase', 'pass phrase\n', 0o600);
    await works('seal', 'data', '-R', 'key.pub', '-o', 'data.tar.zst.age');
    await works('open', 'data.tar.zst.age', '-i', 'key', '--passphrase-file', 'passphrase', '-C', 'opened');
    assert.deepEqual(box.read('opened/data/large'), box.read('data/large'));
  });

  test('is the plugin for tokens, too', async () => {
    assert.match(await works('age-plugin-pkcs11', '--help'), /never leaves a PKCS #11 token/);
    symlinkSync(salvage, box.path('bin', 'age-plugin-pkcs11'));
    const called = await box.program(box.path('bin', 'age-plugin-pkcs11'), ['--version'], alone);
    assert.equal(called.stdout.toString(), '0.1.0\n');
  });

  test('loads the S3 client when it is used', async () => {
    const { code, stderr } = await run(
      'snapshots',
      '--repo',
      's3://bucket/x?region=eu-central-1&endpoint=http://127.0.0.1:9',
    );
    assert.equal(code, 1);
    assert.match(stderr, /s3:\/\/bucket/);
    assert.doesNotMatch(stderr, /bug/);
  });

  test('does what a configuration says, and loads what sends mail when it is used', async () => {
    const repository = box.path('.home/.local/share/salvage/repository');
    const smtp = 'smtp://127.0.0.1:9';
    box.write(
      'salvage.toml',
      `[repositories.main]\nurl = "${repository}"\n[jobs.d]\nrepository = "main"\npaths = ["${box.path('data')}"]\n` +
        `[[notify.emails]]\nfrom = "a@example.org"\nto = ["b@example.org"]\nsmtp = "${smtp}"\non = ["success"]\n`,
    );
    assert.match(await works('run', 'd', '--config', 'salvage.toml'), /e-mail was not given.*ECONNREFUSED/);
  });

  test('keeps its native code where nobody else can write, and trusts no other', async () => {
    const folder = box.path('.home/.cache/salvage/native');
    assert.equal(statSync(folder).mode & 0o777, 0o700);
    const [name] = readdirSync(folder);
    const good = readFileSync(join(folder, name!));
    assert.equal(name, `koffi-${createHash('sha256').update(good).digest('hex')}.node`);
    chmodSync(join(folder, name!), 0o700);
    writeFileSync(join(folder, name!), Buffer.alloc(good.length, 1));
    await works('quickstart', 'data');
    assert.deepEqual(readFileSync(join(folder, name!)), good);
    assert.equal(readdirSync(folder).length, 1);
    // Without any folder to keep it in, it works as well.
    const homeless = { ...alone.env, XDG_CACHE_HOME: '/dev/null/none' };
    const sealed = await box.program(salvage, ['seal', 'data', '-R', 'key.pub', '-o', 'b.age'], {
      env: homeless,
    });
    assert.equal(sealed.code, 0, sealed.stderr);
    assert.deepEqual(readdirSync(box.path('.home/tmp')), []);
  });
});

test('the npm package works in a clean folder, without scripts', async (t) => {
  const box = createSandbox(t);
  const tarball = join(
    release,
    names.find((name) => name.endsWith('.tgz'))!,
  );
  const native = join(box.folder, pack(nativePackage, box.folder));
  box.write('clean/package.json', '{"private": true}');
  const inside = { cwd: 'clean', env: { PATH: `${dirname(process.execPath)}:${process.env['PATH']}` } };
  // Its one dependency comes from what the lock file brought in: nothing is fetched.
  const flags = ['--ignore-scripts', '--offline', '--no-audit', '--no-fund', '--loglevel=error'];
  const installed = await box.program('npm', ['install', ...flags, tarball, native], inside);
  assert.equal(installed.code, 0, installed.stderr);

  const version = await box.program('npx', ['--offline', 'salvage', '--version'], inside);
  assert.equal(version.stdout.toString(), '0.1.0\n', version.stderr);
  const bin = box.path('clean/node_modules/.bin');
  const plugin = await box.program(join(bin, 'age-plugin-pkcs11'), ['--help'], inside);
  assert.match(plugin.stdout.toString(), /never leaves a PKCS #11 token/);
  box.write('data/file', Buffer.alloc(6_000_000, 'many bytes '));
  const quickstart = await box.program(join(bin, 'salvage'), ['quickstart', box.path('data')], inside);
  assert.equal(quickstart.code, 0, quickstart.stderr);
  assert.match(quickstart.stderr, /all as they were/);
});
