// Signatures: ours before `ssh-keygen -Y verify`, those of `ssh-keygen -Y sign` before us, and ssh-agent in between.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { agentHasKey, listAgentKeys } from '../../src/ssh/agent.ts';
import { authorizeSigner, parseAllowedSigners } from '../../src/ssh/allowed-signers.ts';
import { parsePrivateKey } from '../../src/ssh/private-key.ts';
import {
  fingerprint,
  formatPublicKey,
  parsePublicKeyLine,
  type PublicKey,
} from '../../src/ssh/public-key.ts';
import { agentSigner, privateKeySigner, type Signer } from '../../src/ssh/signer.ts';
import {
  formatSshsig,
  parseSshsig,
  sshsigSignedData,
  verifySshsig,
  type SshsigHash,
} from '../../src/ssh/sshsig.ts';
import { makeHardwareKey } from '../support/hardware-key.ts';
import { needsPeers } from '../support/peers.ts';

const namespace = 'salvage-archive';
const principal = 'web-1@example.org';
const message = Buffer.from('The quick brown fox\n');
const digest = (hash: SshsigHash): Uint8Array => createHash(hash).update(message).digest();

const keyTypes = [
  ['ed25519', '256'],
  ['rsa', '2048'],
  ['rsa', '2056'],
  ['ecdsa', '256'],
  ['ecdsa', '384'],
  ['ecdsa', '521'],
] as const;

describe('SSHSIG with ssh-keygen', needsPeers, () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'salvage-sig-'));
    writeFileSync(join(folder, 'message'), message);
    for (const [type, bits] of keyTypes)
      execFileSync('ssh-keygen', ['-q', '-t', type, '-b', bits, '-N', '', '-f', keyPath(type, bits)]);
    const lines = keyTypes.map(
      ([type, bits]) => `${principal} ${readFileSync(`${keyPath(type, bits)}.pub`, 'utf8')}`,
    );
    writeFileSync(join(folder, 'allowed'), lines.join(''));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const keyPath = (type: string, bits: string): string => join(folder, `${type}-${bits}`);
  const publicKey = (path: string): PublicKey => parsePublicKeyLine(readFileSync(`${path}.pub`, 'utf8'))!.key;
  const signer = async (path: string): Promise<Signer> =>
    privateKeySigner(await parsePrivateKey(readFileSync(path), path).unlock());
  /** The exit code of ssh-keygen -Y verify. */
  const theirVerdict = (
    signature: string,
    extra: string[] = [],
    allowed = 'allowed',
    name = namespace,
  ): number => {
    writeFileSync(join(folder, 'ours.sig'), signature);
    const args = ['-Y', 'verify', '-f', join(folder, allowed), '-I', principal, '-n', name, '-s'];
    const { status } = spawnSync('ssh-keygen', [...args, join(folder, 'ours.sig'), ...extra], {
      input: message,
    });
    return status!;
  };
  const theirSignature = (path: string, options: string[] = []): Buffer =>
    execFileSync('ssh-keygen', ['-Y', 'sign', '-f', path, '-n', namespace, ...options], {
      input: message,
      stdio: ['pipe', 'pipe', 'ignore'],
    });

  for (const [type, bits] of keyTypes) {
    test(`${type} ${bits}: ours verify there`, async () => {
      for (const hash of ['sha256', 'sha512'] as const) {
        const ours = await (
          await signer(keyPath(type, bits))
        ).sign({ namespace, hash, digest: digest(hash) });
        assert.equal(theirVerdict(ours), 0);
        assert.notEqual(theirVerdict(ours, [], 'allowed', 'another-namespace'), 0);
      }
    });

    test(`${type} ${bits}: theirs verify here`, () => {
      for (const hash of ['sha256', 'sha512'] as const) {
        const theirs = parseSshsig(theirSignature(keyPath(type, bits), ['-O', `hashalg=${hash}`]));
        assert.equal(theirs.namespace, namespace);
        assert.equal(theirs.hash, hash);
        assert.equal(fingerprint(theirs.publicKey), fingerprint(publicKey(keyPath(type, bits))));
        verifySshsig(theirs, digest(hash));
        const other = Uint8Array.from(digest(hash));
        other[0]! ^= 1;
        assert.throws(() => verifySshsig(theirs, other), { code: 'bad-signature' });
        assert.throws(() => verifySshsig({ ...theirs, namespace: 'file' }, digest(hash)), {
          code: 'bad-signature',
        });
      }
    });
  }

  test('an ed25519 signature is the same, byte for byte', async () => {
    const ours = await (
      await signer(keyPath('ed25519', '256'))
    ).sign({ namespace, hash: 'sha512', digest: digest('sha512') });
    assert.equal(ours, theirSignature(keyPath('ed25519', '256')).toString());
  });

  for (const kind of ['ed25519', 'ecdsa'] as const)
    test(`a signature of a hardware ${kind} key verifies here and there`, () => {
      const hardware = makeHardwareKey(kind);
      const { publicKey } = hardware;
      writeFileSync(join(folder, 'hardware'), `${principal} ${formatPublicKey(publicKey)}\n`);
      const message = { namespace, hash: 'sha512', digest: digest('sha512') } as const;
      const signature = hardware.sign(sshsigSignedData(message));
      verifySshsig({ ...message, publicKey, signature }, message.digest);
      assert.equal(theirVerdict(formatSshsig({ ...message, publicKey, signature }), [], 'hardware'), 0);
    });

  test('allowed signers: one verdict here and there', async () => {
    const path = keyPath('ed25519', '256');
    const key = readFileSync(`${path}.pub`, 'utf8');
    const other = readFileSync(`${keyPath('rsa', '2048')}.pub`, 'utf8');
    const signature = await (
      await signer(path)
    ).sign({ namespace, hash: 'sha512', digest: digest('sha512') });
    const cases: readonly (readonly [line: string, verifyTime?: string])[] = [
      [`${principal} ${key}`],
      [`*@example.org ${key}`],
      [`web-?@example.org,other ${key}`],
      [`*,!web-1@example.org ${key}`],
      [`"${principal}" ${key}`],
      [`someone-else ${key}`],
      [`${principal} ${other}`],
      [`# comment\n\n${principal} ${other}${principal} ${key}`],
      [`${principal} namespaces="salvage-archive" ${key}`],
      [`${principal} namespaces="file,salvage-*" ${key}`],
      [`${principal} namespaces="file" ${key}`],
      [`${principal} NameSpaces="!salvage-archive,*" ${key}`],
      [`${principal} namespaces="file" ${key}${principal} ${key}`],
      [`${principal} cert-authority ${key}`],
      [`${principal} valid-after="20260101" ${key}`, '20260101'],
      [`${principal} valid-after="20260101" ${key}`, '20251231235959'],
      [`${principal} valid-before="20260101" ${key}`, '20260101000000'],
      [`${principal} valid-before="20260101" ${key}`, '20260101000001'],
      [`${principal} valid-after="202601011200Z",valid-before="20260102Z" ${key}`, '20260101115959Z'],
      [`${principal} valid-after="202601011200Z",valid-before="20260102Z" ${key}`, '20260101120000Z'],
      [`${principal} valid-after="20260102",valid-before="20260101" ${key}`, '20260101'],
      [`${principal} valid-after="20261301" ${key}`, '20260101'],
      [`${principal} unknown-option ${key}`],
      [`${principal} namespaces="a",namespaces="b" ${key}`],
      [`${principal} namespaces="salvage-archive", ${key}`],
      [`${principal} namespaces=salvage-archive ${key}`],
      [principal],
    ];
    for (const [line, verifyTime = '20260601'] of cases) {
      writeFileSync(join(folder, 'case'), line);
      const theirs = theirVerdict(signature, ['-O', `verify-time=${verifyTime}`], 'case') === 0;
      assert.equal(ourVerdict(line, publicKey(path), verifyTime), theirs, `${line} at ${verifyTime}`);
    }
  });

  function ourVerdict(text: string, key: PublicKey, at: string): boolean {
    const [, y, mo, d, h = '00', mi = '00', s = '00', z] =
      /^(\d{4})(\d\d)(\d\d)(\d\d)?(\d\d)?(\d\d)?(Z)?$/.exec(at)!;
    const time = new Date(`${y}-${mo}-${d}T${h}:${mi}:${s}${z ?? ''}`);
    try {
      authorizeSigner(parseAllowedSigners(text), { publicKey: key, principal, namespace, time });
      return true;
    } catch {
      return false;
    }
  }

  test('ssh-agent signs with every kind of key', async () => {
    const socketPath = join(folder, 'agent.sock');
    const agent = spawn('ssh-agent', ['-D', '-a', socketPath], { stdio: 'ignore' });
    try {
      while (!existsSync(socketPath)) await new Promise((resolve) => setTimeout(resolve, 20));
      const env = { ...process.env, SSH_AUTH_SOCK: socketPath };
      const held = keyTypes
        .filter(([type, bits]) => type !== 'rsa' || bits !== '2056')
        .map(([type, bits]) => keyPath(type, bits));
      for (const path of held) execFileSync('ssh-add', ['-q', path], { env });
      const listed = (await listAgentKeys(socketPath)).map((key) => fingerprint(key));
      assert.deepEqual(
        listed,
        held.map((path) => fingerprint(publicKey(path))),
      );
      for (const path of held) {
        const ours = agentSigner(publicKey(path), socketPath);
        const signature = await ours.sign({ namespace, hash: 'sha512', digest: digest('sha512') });
        assert.equal(theirVerdict(signature), 0);
      }
      const absent = publicKey(keyPath('rsa', '2056'));
      assert.equal(await agentHasKey(socketPath, absent), false);
      await assert.rejects(
        agentSigner(absent, socketPath).sign({ namespace, hash: 'sha512', digest: digest('sha512') }),
        { code: 'bad-key', message: /does not have it/ },
      );
    } finally {
      agent.kill();
    }
    await assert.rejects(listAgentKeys(join(folder, 'no-such.sock')), { code: 'bad-key' });
    assert.equal(await agentHasKey(join(folder, 'no-such.sock'), publicKey(keyPath('rsa', '2048'))), false);
  });
});
