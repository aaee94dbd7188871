import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { asBuffer, concatBytes, utf8Bytes } from '../bytes/bytes.ts';
import { encodeHeader, headerLimits, HeaderParser, parseHeader, verifyHeaderMac } from './header.ts';

const fileKey = new Uint8Array(16).fill(7);
const argument = fc.stringMatching(/^[\x21-\x7e]{1,20}$/);
const stanza = fc.record(
  { type: argument, args: fc.array(argument, { maxLength: 5 }), body: fc.uint8Array({ maxLength: 200 }) },
  { noNullPrototype: true },
);

function parseInPieces(bytes: Uint8Array, size: number): HeaderParser {
  const parser = new HeaderParser();
  for (let offset = 0; offset < bytes.length; offset += size)
    if (parser.push(bytes.subarray(offset, offset + size))) return parser;
  return parser.finish();
}

test('what is encoded is parsed, whole or in pieces, and its MAC verifies', () => {
  fc.assert(
    fc.property(
      fc.array(stanza, { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 100 }),
      (stanzas, size) => {
        const bytes = encodeHeader(stanzas, fileKey);
        const payload = utf8Bytes('payload');
        const parser = parseInPieces(concatBytes([bytes, payload]), size);
        const header = parser.header!;
        assert.deepEqual(header.stanzas, stanzas);
        assert.deepEqual(header.bytes, bytes);
        assert.deepEqual(parser.rest, payload.subarray(0, parser.rest.length));
        assert.ok(verifyHeaderMac(header, fileKey));
        assert.ok(!verifyHeaderMac(header, new Uint8Array(16)));
        // One line for 48 bytes, and an empty one after a full one.
        assert.equal(
          asBuffer(bytes).toString('latin1').split('\n').length,
          3 + stanzas.reduce((lines, { body }) => lines + 2 + Math.floor(body.length / 48), 0),
        );
      },
    ),
  );
});

test('any changed byte is refused or breaks the MAC', () => {
  const bytes = encodeHeader([{ type: 'X', args: ['a', 'b'], body: new Uint8Array(50) }], fileKey);
  for (let index = 0; index < bytes.length; index++) {
    const changed = Uint8Array.from(bytes);
    changed[index]! ^= 1;
    let accepted = false;
    try {
      accepted = verifyHeaderMac(parseHeader(changed), fileKey);
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'age-header');
    }
    assert.ok(!accepted, `byte ${index}`);
  }
});

const mac = `--- ${'A'.repeat(43)}\n`;

test('limits are those of age 1.3.2', () => {
  const many = (count: number): Uint8Array =>
    utf8Bytes(`age-encryption.org/v1\n${'-> x\n\n'.repeat(count)}${mac}`);
  assert.equal(parseHeader(many(headerLimits.stanzas)).stanzas.length, headerLimits.stanzas);
  assert.throws(() => parseHeader(many(headerLimits.stanzas + 1)), { code: 'age-header', message: /1024/ });

  const wide = (count: number): Uint8Array =>
    utf8Bytes(`age-encryption.org/v1\n-> x${' y'.repeat(count)}\n\n${mac}`);
  assert.equal(parseHeader(wide(headerLimits.arguments)).stanzas[0]!.args.length, headerLimits.arguments);
  assert.throws(() => parseHeader(wide(headerLimits.arguments + 1)), { code: 'age-header', message: /128/ });

  const long = (bytes: number): Uint8Array => {
    const frame = `age-encryption.org/v1\n-> x \n\n${mac}`.length;
    return utf8Bytes(`age-encryption.org/v1\n-> x ${'y'.repeat(bytes - frame)}\n\n${mac}`);
  };
  assert.equal(parseHeader(long(headerLimits.bytes)).bytes.length, headerLimits.bytes);
  assert.throws(() => parseHeader(long(headerLimits.bytes + 1)), { code: 'age-header', message: /longer/ });
});

test('a foreign file is refused at its first bytes, an endless line at the limit', () => {
  const parser = new HeaderParser();
  assert.throws(() => parser.push(utf8Bytes('a tar')), { code: 'age-header' });
  const endless = new HeaderParser();
  endless.push(utf8Bytes('age-encryption.org/v1\n-> '));
  assert.throws(
    () => {
      for (;;) endless.push(new Uint8Array(100_000).fill(0x41));
    },
    { code: 'age-header', message: /longer/ },
  );
});

test('nothing is written that age would not read', () => {
  const body = new Uint8Array(32);
  for (const stanzas of [
    [],
    Array.from({ length: 1025 }, () => ({ type: 'x', args: [], body })),
    [{ type: 'x', args: Array.from({ length: 129 }, () => 'y'), body }],
    [{ type: 'x', args: [''], body }],
    [{ type: 'x\ny', args: [], body }],
    [{ type: 'x', args: [], body: new Uint8Array(2 * 1024 * 1024) }],
  ])
    assert.throws(() => encodeHeader(stanzas, fileKey), { code: 'age-header', message: /Cannot write/ });
});
