import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { concatBytes } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { formatPublicKey, publicKeyFromObject, type PublicKey } from './public-key.ts';
import { parseRevokedKeys } from './revoked-keys.ts';
import { signWithPrivateKey } from './signature.ts';
import { encodeString, encodeUint32 } from './wire-writer.ts';

const pairs = [
  generateKeyPairSync('ed25519'),
  generateKeyPairSync('ed25519'),
  generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  generateKeyPairSync('rsa', { modulusLength: 2048 }),
];
const keys = pairs.map(({ publicKey }) => publicKeyFromObject(publicKey));
const [first, second] = keys as [PublicKey, PublicKey];
const digest = (name: 'sha1' | 'sha256', { blob }: PublicKey): Uint8Array =>
  createHash(name).update(blob).digest();

const byte = (value: number): Uint8Array => Uint8Array.of(value);
const header = concatBytes([
  Buffer.from('SSHKRL\n\0'),
  encodeUint32(1),
  new Uint8Array(24),
  encodeString(''),
  encodeString('a comment'),
]);
const part = (type: number, ...content: Uint8Array[]): Uint8Array =>
  concatBytes([byte(type), encodeString(concatBytes(content))]);
const extension = (type: number, isCritical: boolean): Uint8Array =>
  part(type, encodeString('new@example.org'), byte(isCritical ? 1 : 0), encodeString('content'));
const certificates = (...parts: Uint8Array[]): Uint8Array =>
  part(1, encodeString(first.blob), encodeString(''), ...parts);
const list = (...sections: Uint8Array[]): Uint8Array => concatBytes([header, ...sections]);

function revokedBy(bytes: Uint8Array): PublicKey[] {
  const revoked = parseRevokedKeys(bytes);
  return keys.filter((key) => revoked.has(key));
}

describe('revoked keys', () => {
  test('one to a line', () => {
    const revoked = parseRevokedKeys(Buffer.from(`# lost in May\n${formatPublicKey(first)}\n`));
    assert.throws(() => revoked.check(first), { code: 'bad-signature', message: /is revoked/ });
    revoked.check(second);
    assert.throws(() => parseRevokedKeys(Buffer.from('junk')), { code: 'bad-key' });
  });

  test('in a binary list, by themselves and by digest, whatever stands around them', () => {
    const section = fc.oneof(
      fc.constantFrom(...keys).map((key) => ({ key, bytes: part(2, encodeString(key.blob)) })),
      fc.constantFrom(...keys).map((key) => ({ key, bytes: part(3, encodeString(digest('sha1', key))) })),
      fc.constantFrom(...keys).map((key) => ({ key, bytes: part(5, encodeString(digest('sha256', key))) })),
      fc
        .constantFrom(
          part(2),
          extension(255, false),
          certificates(),
          certificates(part(0x20, new Uint8Array(16)), part(0x23, encodeString('someone'))),
          certificates(
            part(0x21, new Uint8Array(16)),
            part(0x22, new Uint8Array(12)),
            extension(0x39, false),
          ),
        )
        .map((bytes) => ({ key: undefined, bytes })),
    );
    fc.assert(
      fc.property(fc.array(section, { maxLength: 12 }), (sections) => {
        const expected = keys.filter((key) => sections.some((one) => one.key === key));
        assert.deepEqual(revokedBy(list(...sections.map(({ bytes }) => bytes))), expected);
      }),
    );
  });

  test('in a list with a signature, if that is right and last', () => {
    const key = encodeString(first.blob);
    const revoked = part(2, encodeString(second.blob));
    const signed = concatBytes([list(revoked), byte(4), key]);
    const signature = signWithPrivateKey(
      { key: pairs[0]!.privateKey, publicKey: first, comment: '' },
      signed,
    );
    const whole = concatBytes([signed, encodeString(signature)]);
    assert.deepEqual(revokedBy(whole), [second]);
    assert.throws(() => parseRevokedKeys(concatBytes([whole, revoked])), /something follows its signature/);
    const changed = Buffer.from(whole);
    changed[header.length - 1]! ^= 1;
    assert.throws(() => parseRevokedKeys(changed), /its signature is wrong/);
  });

  test('never in a list that is not understood', () => {
    const refused: [bytes: Uint8Array, message: RegExp][] = [
      [Buffer.from('SSHKRL\n\0rest'), /cut short|version/],
      [list(extension(255, true)), /extension "new@example.org", which is not known/],
      [list(certificates(extension(0x39, true))), /extension "new@example.org", which is not known/],
      [list(certificates(part(0x24))), /of certificates what is not known/],
      [list(part(6)), /section of the kind 6/],
      [list(part(3, encodeString(new Uint8Array(32)))), /a digest of 32 bytes/],
      [list(part(5, encodeString(new Uint8Array(20)))), /a digest of 20 bytes/],
      [list(part(2, encodeString('no key'))), /Cannot read/],
      [concatBytes([Buffer.from('SSHKRL\n\0'), encodeUint32(2), header.subarray(12)]), /has the version 2/],
      [concatBytes([header.subarray(0, 28), byte(1), header.subarray(29)]), /flags that are not known/],
    ];
    for (const [bytes, message] of refused)
      assert.throws(() => parseRevokedKeys(bytes), { code: 'bad-key', message });
  });

  test('whatever the bytes, a list or a SalvageError', () => {
    const whole = list(
      part(2, ...keys.map(({ blob }) => encodeString(blob))),
      part(5, encodeString(digest('sha256', first))),
      certificates(part(0x20, new Uint8Array(8)), extension(0x39, false)),
    );
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 4 });
    fc.assert(
      fc.property(damage, fc.nat(whole.length), (changes, length) => {
        const bytes = Buffer.from(whole);
        for (const [at, value] of changes) bytes[at] = value;
        try {
          parseRevokedKeys(bytes.subarray(0, length));
        } catch (error) {
          assert.ok(error instanceof SalvageError);
          assert.equal(error.code, 'bad-key');
        }
      }),
      { numRuns: 500 },
    );
  });

  test('a great many', () => {
    const digests = Array.from({ length: 200_000 }, (_, index) => {
      const bytes = Buffer.alloc(24);
      bytes.writeUInt32BE(20);
      bytes.writeUInt32BE(index, 4);
      return bytes;
    });
    assert.deepEqual(revokedBy(list(part(3, concatBytes(digests), encodeString(digest('sha1', second))))), [
      second,
    ]);
  });
});
