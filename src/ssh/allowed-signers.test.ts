import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { SalvageError } from '../errors/salvage-error.ts';
import { authorizeSigner, parseAllowedSigners, parseSignerTime } from './allowed-signers.ts';
import { formatPublicKey, publicKeyFromObject } from './public-key.ts';

const publicKey = publicKeyFromObject(generateKeyPairSync('ed25519').publicKey);
const other = publicKeyFromObject(generateKeyPairSync('ed25519').publicKey);
const line = formatPublicKey(publicKey, 'comment');
const claim = {
  publicKey,
  principal: 'web-1',
  namespace: 'salvage-archive',
  time: new Date('2026-06-01T12:00:00Z'),
};

test('a line is read into its parts', () => {
  const [signer, ...rest] = parseAllowedSigners(
    `# who may sign\n\n "web 1",web-2 \t namespaces="a,b",valid-after="20260101Z",valid-before="202612312359Z" ${line}\r\n`.replace(
      '"web 1",web-2',
      '"web 1,web-2"',
    ),
  );
  assert.equal(rest.length, 0);
  assert.deepEqual(
    { ...signer, key: undefined },
    {
      principals: 'web 1,web-2',
      key: undefined,
      certAuthority: false,
      namespaces: 'a,b',
      validAfter: new Date('2026-01-01T00:00:00Z'),
      validBefore: new Date('2026-12-31T23:59:00Z'),
      line: 3,
    },
  );
});

test('the refusal says what stood in the way', () => {
  const table: [text: string, message: RegExp][] = [
    ['', /do not list "web-1"/],
    [`web-1 ${formatPublicKey(other)}`, /key SHA256:\S+ is not among those of "web-1"/],
    [`web-2 ${line}`, /line 1: the key belongs to another principal/],
    [`web-1 cert-authority ${line}`, /certificate authority/],
    [`web-1 namespaces="file" ${line}`, /may not sign in the namespace "salvage-archive"/],
    [`web-1 valid-after="20260602Z" ${line}`, /not valid before 2026-06-02T00:00:00/],
    [`\nweb-1 valid-before="20260601Z" ${line}`, /line 2: the key is not valid after 2026-06-01T00:00:00/],
  ];
  for (const [text, message] of table)
    assert.throws(
      () => authorizeSigner(parseAllowedSigners(text), claim),
      { code: 'bad-signature', message },
      text,
    );
  assert.equal(authorizeSigner(parseAllowedSigners(`web-2 ${line}\nweb-1 ${line}`), claim).line, 2);
});

test('a malformed line is an error with its number', () => {
  for (const bad of [
    'web-1',
    'web-1 ssh-ed25519 AAAA',
    `web-1 bogus ${line}`,
    `web-1 namespaces=x ${line}`,
    `web-1 cert-authority="x" ${line}`,
    `web-1 namespaces="x",,cert-authority ${line}`,
    `web-1 valid-after="tomorrow" ${line}`,
    `web-1 valid-after="20260102",valid-before="20260102" ${line}`,
    `"web-1 ${line}`,
  ])
    assert.throws(
      () => parseAllowedSigners(`# first\n${bad}\n`),
      { code: 'bad-key', message: /line 2/ },
      bad,
    );
});

test('times', () => {
  const table: [text: string, iso: string | undefined][] = [
    ['20260228Z', '2026-02-28T00:00:00.000Z'],
    ['20240229UTC', '2024-02-29T00:00:00.000Z'],
    ['202601021304z', '2026-01-02T13:04:00.000Z'],
    ['20260102130405Z', '2026-01-02T13:04:05.000Z'],
    ['20260229Z', undefined],
    ['20261301Z', undefined],
    ['20260001Z', undefined],
    ['2026010124Z', undefined],
    ['202601012400Z', undefined],
    ['2026-01-01', undefined],
    ['', undefined],
  ];
  for (const [text, iso] of table) assert.equal(parseSignerTime(text)?.toISOString(), iso, text);
  assert.deepEqual(parseSignerTime('202601021304'), new Date(2026, 0, 2, 13, 4));
});

test('whatever the text, a list or a SalvageError', () => {
  const piece = fc.constantFrom(
    'web-1',
    ' ',
    '"',
    ',',
    '=',
    'namespaces="a"',
    'cert-authority',
    '#',
    '\\',
    line,
    'valid-after="2026',
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 4 })), { maxLength: 8 }), (pieces) => {
      try {
        parseAllowedSigners(pieces.join(''));
      } catch (error) {
        assert.ok(error instanceof SalvageError);
      }
    }),
    { numRuns: 500 },
  );
});
