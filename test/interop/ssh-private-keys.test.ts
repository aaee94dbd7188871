// Private keys that ssh-keygen makes, read by us; keys that we make, read by ssh-keygen.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import * as fc from 'fast-check';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { encodeEd25519PrivateKey, generateEd25519Key } from '../../src/ssh/encode-private-key.ts';
import { isWrongPassphrase } from '../../src/ssh/private-key-file.ts';
import { parsePrivateKey } from '../../src/ssh/private-key.ts';
import { fingerprint, formatPublicKey, parsePublicKeyLine } from '../../src/ssh/public-key.ts';
import { privateKeySigner } from '../../src/ssh/signer.ts';
import { needsPeers } from '../support/peers.ts';

const passphrase = 'correct horse ü';
const ciphers = [
  'aes128-ctr',
  'aes192-ctr',
  'aes256-ctr',
  'aes128-cbc',
  'aes192-cbc',
  'aes256-cbc',
  '3des-cbc',
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
  'chacha20-poly1305@openssh.com',
];

describe('private keys of ssh-keygen', needsPeers, () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'salvage-ssh-'));
    make('rsa', '-t', 'rsa', '-b', '2048', '-N', '');
    make('ecdsa', '-t', 'ecdsa', '-b', '521', '-N', '');
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const keygen = (...args: string[]): string => execFileSync('ssh-keygen', args, { encoding: 'utf8' });
  const make = (name: string, ...args: string[]): string => {
    const path = join(folder, name);
    keygen('-q', '-C', 'a comment', '-f', path, ...args);
    return path;
  };
  /** A key of `before` in another form: to find new RSA primes for each test would take long. */
  const convert = (source: string, name: string, ...args: string[]): string => {
    const path = join(folder, name);
    for (const suffix of ['', '.pub']) copyFileSync(join(folder, source + suffix), path + suffix);
    keygen('-q', '-p', '-P', '', '-f', path, ...args);
    return path;
  };
  const unlock = async (path: string, secret?: string): Promise<void> => {
    const file = parsePrivateKey(readFileSync(path), path);
    const expected = parsePublicKeyLine(readFileSync(`${path}.pub`, 'utf8'))!.key;
    if (file.publicKey) assert.deepEqual(Buffer.from(file.publicKey.blob), Buffer.from(expected.blob));
    assert.equal(file.encrypted, secret !== undefined);
    const { key, publicKey } = await file.unlock(secret);
    assert.equal(fingerprint(publicKey), fingerprint(expected));
    const hash = publicKey.kind === 'ed25519' ? null : 'sha256';
    const data = Buffer.from('data');
    assert.ok(verify(hash, data, key, sign(hash, data, key)));
    if (secret === undefined) return;
    await assert.rejects(file.unlock('another passphrase'), isWrongPassphrase);
    await assert.rejects(file.unlock(), isWrongPassphrase);
  };

  for (const cipher of ciphers)
    test(`ed25519 encrypted with ${cipher}`, () =>
      unlock(make(`ed-${cipher}`, '-t', 'ed25519', '-a', '1', '-Z', cipher, '-N', passphrase), passphrase));

  test('rsa encrypted with the default cipher', () =>
    unlock(convert('rsa', 'rsa-locked', '-a', '2', '-N', passphrase), passphrase));

  test('rsa 2048 and ecdsa 521 in the clear', async () => {
    for (const type of ['rsa', 'ecdsa']) await unlock(join(folder, type));
  });

  for (const [type, bits] of [
    ['ed25519', '256'],
    ['ecdsa', '256'],
    ['ecdsa', '384'],
  ] as const)
    test(`${type} ${bits} in the clear`, () =>
      unlock(make(`clear-${type}-${bits}`, '-t', type, '-b', bits, '-N', '')));

  for (const format of ['PEM', 'PKCS8'])
    for (const type of ['rsa', 'ecdsa'])
      for (const secret of [undefined, passphrase])
        test(`${type} as ${format}, ${secret ? 'encrypted' : 'in the clear'}`, () =>
          unlock(convert(type, `${format}-${type}-${secret}`, '-m', format, '-N', secret ?? ''), secret));

  test('ed25519 as PKCS#8, which ssh-keygen 9.2 does not write but openssl does', async () => {
    const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    const file = parsePrivateKey(Buffer.from(pem), 'k');
    assert.equal((await file.unlock()).publicKey.kind, 'ed25519');
  });

  test('a DSA key is recognised and not supported', async (t) => {
    const path = join(folder, 'dsa');
    try {
      keygen('-q', '-t', 'dsa', '-N', '', '-f', path);
    } catch {
      // OpenSSH 10 cannot make them any more.
      t.diagnostic('ssh-keygen makes no DSA keys');
      return;
    }
    assert.equal(parsePublicKeyLine(readFileSync(`${path}.pub`, 'utf8'))!.key.kind, 'unsupported');
    await assert.rejects(parsePrivateKey(readFileSync(path), path).unlock(), /ssh-dss are not supported/);
  });

  test('an absurd number of bcrypt rounds is refused before any work', async () => {
    const path = make('rounds', '-t', 'ed25519', '-a', '7', '-N', 'x');
    const [, base64] = /KEY-----\n([^-]*)/.exec(readFileSync(path, 'utf8'))!;
    const blob = Buffer.from(base64!, 'base64');
    // magic, "aes256-ctr", "bcrypt", length of the options, salt of 16 bytes, rounds
    const at = 15 + 14 + 10 + 4 + 20;
    assert.equal(blob.readUInt32BE(at), 7);
    blob.writeUInt32BE(0x7fffffff, at);
    const pem = `-----BEGIN OPENSSH PRIVATE KEY-----\n${blob.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`;
    await assert.rejects(parsePrivateKey(Buffer.from(pem), 'k').unlock('x'), /2147483647 bcrypt rounds/);
  });

  for (const encryption of [undefined, { passphrase, rounds: 2 }])
    test(`our ${encryption ? 'encrypted' : 'clear'} key serves ssh-keygen`, async () => {
      const key = generateEd25519Key('host ü');
      const path = join(folder, `ours-${encryption !== undefined}`);
      const pem = await encodeEd25519PrivateKey(key, encryption);
      writeFileSync(path, pem, { mode: 0o600 });
      const line = formatPublicKey(key.publicKey, key.comment);
      assert.equal(keygen('-y', '-P', encryption?.passphrase ?? '', '-f', path).trim(), line);
      assert.match(
        keygen('-l', '-f', path),
        new RegExp(` ${fingerprint(key.publicKey).replaceAll('+', '\\+')} `),
      );
      const again = await parsePrivateKey(Buffer.from(pem), path).unlock(encryption?.passphrase);
      assert.equal(again.comment, 'host ü');
      // What ssh-keygen writes for the same key has the same layout.
      keygen(
        '-q',
        '-p',
        '-P',
        encryption?.passphrase ?? '',
        '-N',
        encryption?.passphrase ?? '',
        '-a',
        '2',
        '-f',
        path,
      );
      assert.equal(readFileSync(path, 'utf8').length, pem.length);
    });

  for (const type of ['rsa', 'ecdsa'])
    test(`a damaged ${type} key is refused, or signs as it should`, async () => {
      const path = join(folder, type);
      const blob = Buffer.from(readFileSync(path, 'utf8').replace(/-----.*-----/g, ''), 'base64');
      const message = { namespace: 'n', hash: 'sha256', digest: new Uint8Array(32) } as const;
      await fc.assert(
        fc.asyncProperty(fc.nat(blob.length - 1), fc.integer({ min: 1, max: 255 }), async (at, mask) => {
          const changed = Buffer.from(blob);
          changed[at]! ^= mask;
          const pem = `-----BEGIN OPENSSH PRIVATE KEY-----\n${changed.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`;
          try {
            await privateKeySigner(await parsePrivateKey(Buffer.from(pem), 'k').unlock()).sign(message);
          } catch (error) {
            assert.ok(error instanceof SalvageError, String(error));
          }
        }),
        { numRuns: 300 },
      );
    });

  test('errors name the file and never its content', async () => {
    for (const text of [
      '',
      'junk',
      '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n',
    ])
      assert.throws(
        () => parsePrivateKey(Buffer.from(text), 'the-name'),
        (error) =>
          error instanceof SalvageError && error.code === 'bad-key' && error.message.includes('"the-name"'),
      );
  });
});
