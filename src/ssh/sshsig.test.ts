import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { concatBytes } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { generateEd25519Key } from './encode-private-key.ts';
import { privateKeySigner } from './signer.ts';
import { formatSshsig, parseSshsig, sshsigSignedData, verifySshsig } from './sshsig.ts';
import { encodeString, encodeUint32 } from './wire-writer.ts';

const key = generateEd25519Key('');
const digest = createHash('sha512').update('message').digest();
const armored = await privateKeySigner(key).sign({ namespace: 'test', hash: 'sha512', digest });

test('what is signed verifies, and nothing else', () => {
  const sshsig = parseSshsig(Buffer.from(armored));
  verifySshsig(sshsig, digest);
  assert.equal(formatSshsig(sshsig), armored);
  const bad = { code: 'bad-signature' };
  assert.throws(() => verifySshsig({ ...sshsig, namespace: 'test2' }, digest), bad);
  assert.throws(() => verifySshsig(sshsig, createHash('sha512').update('massage').digest()), bad);
  assert.throws(() => verifySshsig({ ...sshsig, publicKey: generateEd25519Key('').publicKey }, digest), bad);
  assert.throws(() => sshsigSignedData({ namespace: '', hash: 'sha512', digest }), { code: 'usage' });
});

test('malformed signature files', () => {
  const blob = (...parts: Uint8Array[]): string =>
    `-----BEGIN SSH SIGNATURE-----\n${Buffer.from(concatBytes(parts)).toString('base64')}\n-----END SSH SIGNATURE-----\n`;
  const magic = Buffer.from('SSHSIG');
  const fields = (namespace: string | Uint8Array, hash: string): Uint8Array[] =>
    [key.publicKey.blob, namespace, '', hash, 'signature'].map((field) => encodeString(field));
  for (const text of [
    '',
    'junk',
    ` ${armored}`,
    `${armored}${armored}`,
    armored.replace('BEGIN', 'BEGINN'),
    armored.replace(/\n-----END[^]*/, ''),
    armored.replace('\nU1NIU0lH', '\n!1NIU0lH'),
    blob(magic, encodeUint32(2), ...fields('test', 'sha512')),
    blob(magic, encodeUint32(1), ...fields('', 'sha512')),
    blob(magic, encodeUint32(1), ...fields(Uint8Array.of(0xff), 'sha512')),
    blob(magic, encodeUint32(1), ...fields('test', 'sha1')),
    blob(magic, encodeUint32(1), ...fields('test', 'sha512'), Uint8Array.of(0)),
    blob(magic, encodeUint32(1), ...fields('test', 'sha512').slice(0, 4)),
    blob(magic, encodeUint32(1), encodeString('not a key'), ...fields('test', 'sha512').slice(1)),
    'x'.repeat(100_000),
  ])
    assert.throws(() => parseSshsig(Buffer.from(text)), { code: 'bad-signature' }, text.slice(0, 200));
  const crlf = armored.replaceAll('\n', '\r\n');
  verifySshsig(parseSshsig(Buffer.from(crlf)), digest);
});

test('a changed signature file is refused, and only by a SalvageError', () => {
  const blob = Buffer.from(armored.replace(/-----.*-----/g, ''), 'base64');
  fc.assert(
    fc.property(fc.nat(blob.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
      const changed = Buffer.from(blob);
      changed[at]! ^= mask;
      const text = `-----BEGIN SSH SIGNATURE-----\n${changed.toString('base64')}\n-----END SSH SIGNATURE-----\n`;
      assert.throws(() => {
        const sshsig = parseSshsig(Buffer.from(text));
        verifySshsig(sshsig, digest);
      }, SalvageError);
    }),
    { numRuns: 1000 },
  );
});
