import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { concatBytes } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import {
  formatPublicKey,
  modulusBits,
  parsePublicKeyBlob,
  parsePublicKeyFile,
  parsePublicKeyLine,
  publicKeyFromObject,
  publicKeyObject,
  type PublicKey,
} from './public-key.ts';
import { encodePositiveInteger, encodeString } from './wire-writer.ts';

const ed25519 = publicKeyFromObject(generateKeyPairSync('ed25519').publicKey);
const rsa = publicKeyFromObject(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey);
const ecdsa = publicKeyFromObject(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey);
const base64 = (...fields: (Uint8Array | string)[]): string =>
  Buffer.from(concatBytes(fields.map((field) => encodeString(field)))).toString('base64');
const blobOf = (key: PublicKey | undefined): Buffer => Buffer.from(key!.blob);

test('a key survives the way to node:crypto and back', () => {
  for (const key of [ed25519, rsa, ecdsa])
    assert.deepEqual(blobOf(publicKeyFromObject(publicKeyObject(key))), blobOf(key));
  assert.equal(rsa.kind === 'rsa' && modulusBits(rsa.modulus), 2048);
  assert.throws(() => publicKeyFromObject(generateKeyPairSync('x25519').publicKey), { code: 'bad-key' });
});

test('lines: with and without options and comment', () => {
  const key = formatPublicKey(ed25519);
  const table: [line: string, options: string, comment: string][] = [
    [key, '', ''],
    [`  ${key}  root@host more \r`, '', 'root@host more'],
    [key.replace(' ', '\t'), '', ''],
    [`restrict ${key} me`, 'restrict', 'me'],
    [`command="echo \\"a b\\" # ssh-rsa",no-pty ${key}`, 'command="echo \\"a b\\" # ssh-rsa",no-pty', ''],
    [`from="10.0.0.0/8"\t${key} me`, 'from="10.0.0.0/8"', 'me'],
  ];
  for (const [line, options, comment] of table) {
    const parsed = parsePublicKeyLine(line)!;
    assert.deepEqual([parsed.options, parsed.comment], [options, comment], line);
    assert.deepEqual(blobOf(parsed.key), blobOf(ed25519));
  }
  for (const line of ['', '   ', '# ssh-ed25519 AAAA', '\r'])
    assert.equal(parsePublicKeyLine(line), undefined);
});

test('key types that cannot be used are recognised', () => {
  for (const type of [
    'ssh-dss',
    'ssh-of-tomorrow@example.org',
    'ssh-ed25519-cert-v01@openssh.com',
    'ecdsa-sha2-nistp256-cert-v01@openssh.com',
  ])
    assert.equal(parsePublicKeyLine(`${type} ${base64(type, 'whatever')} me`)!.key.kind, 'unsupported');
  const sk = parsePublicKeyLine(
    `sk-ssh-ed25519@openssh.com ${base64('sk-ssh-ed25519@openssh.com', new Uint8Array(32), 'ssh:')}`,
  )!.key;
  assert.equal(sk.kind, 'sk-ed25519');
});

test('malformed lines are errors that do not repeat them', () => {
  const good = formatPublicKey(ed25519).split(' ')[1]!;
  const lines = [
    'secret-junk',
    'ssh-ed25519',
    `ssh-ed25519 ${good.slice(0, -4)}`,
    `ssh-ed25519 ${good.replace(/A/, '!')}`,
    `ssh-ed25519 ${good}=`,
    `ssh-rsa ${good}`,
    `ssh-ed25519 ${base64('ssh-ed25519', new Uint8Array(31))}`,
    `ssh-ed25519 ${base64('ssh-ed25519', new Uint8Array(32), '')}`,
    `ssh-secret ${base64('ssh-Secret', '')}`,
    `ssh-secret ${base64('ssh-other', '')}`,
    `ssh-secret ${good}`,
    `ssh-rsa ${base64('ssh-rsa', Uint8Array.of(1, 0, 1), Uint8Array.of(0x80))}`,
    `ssh-rsa ${base64('ssh-rsa', Uint8Array.of(0, 1), Uint8Array.of(1))}`,
    `ssh-rsa ${base64('ssh-rsa', '', Uint8Array.of(1))}`,
    `ssh-rsa ${base64('ssh-rsa', Uint8Array.of(3), new Uint8Array(3000).fill(1))}`,
    `ecdsa-sha2-nistp256 ${base64('ecdsa-sha2-nistp256', 'nistp384', new Uint8Array(97))}`,
    `ecdsa-sha2-nistp256 ${base64('ecdsa-sha2-nistp256', 'nistp256', new Uint8Array(65))}`,
    `restrict`,
    `command="unclosed ${good}`,
    'x'.repeat(100_000),
    '-----BEGIN OPENSSH PRIVATE KEY-----',
  ];
  for (const line of lines)
    assert.throws(
      () => parsePublicKeyLine(line),
      (error) =>
        error instanceof SalvageError && error.code === 'bad-key' && !/secret|A{9}/.test(error.message),
      line,
    );
  assert.throws(() => parsePublicKeyFile(`# keys\n${formatPublicKey(ed25519)}\njunk\n`), /\(line 3\)/);
  assert.equal(
    parsePublicKeyFile(`${formatPublicKey(ed25519)}\r\n\r\n${formatPublicKey(rsa)} me\r\n`).length,
    2,
  );
});

test('a point off its curve is found when the key is used', () => {
  if (ecdsa.kind !== 'ecdsa') return;
  const point = Uint8Array.from(ecdsa.point);
  point[90]! ^= 1;
  assert.throws(() => publicKeyObject({ ...ecdsa, point }), { code: 'bad-key' });
});

test('numbers keep their value through the encoding', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (bytes) => {
      if (bytes.every((byte) => byte === 0)) return;
      const blob = concatBytes([
        encodeString('ssh-rsa'),
        encodePositiveInteger(bytes),
        encodePositiveInteger(bytes),
      ]);
      const key = parsePublicKeyBlob(blob);
      assert.ok(key.kind === 'rsa');
      assert.deepEqual(
        Buffer.from(key.modulus),
        Buffer.from(bytes.subarray(bytes.findIndex((byte) => byte !== 0))),
      );
    }),
  );
});

test('whatever the bytes, a key or a SalvageError', () => {
  const check = (act: () => unknown): void => {
    try {
      act();
    } catch (error) {
      assert.ok(error instanceof SalvageError);
    }
  };
  fc.assert(
    fc.property(
      fc.constantFrom(ed25519, rsa, ecdsa),
      fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 }),
      fc.nat(400),
      (key, changes, length) => {
        const blob = Uint8Array.from(key.blob);
        for (const [at, value] of changes) if (at < blob.length) blob[at] = value;
        const cut = blob.subarray(0, length > 300 ? blob.length : length);
        check(() => publicKeyObject(parsePublicKeyBlob(cut)));
        check(() => parsePublicKeyLine(`${key.type} ${Buffer.from(cut).toString('base64')}`));
      },
    ),
    { numRuns: 500 },
  );
  fc.assert(fc.property(fc.string(), (line) => check(() => parsePublicKeyLine(line))));
});
