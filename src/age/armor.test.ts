import assert from 'node:assert/strict';
import { test } from 'node:test';
import { armor as oracle } from 'age-encryption';
import * as fc from 'fast-check';
import { asBuffer, concatBytes, utf8Bytes } from '../bytes/bytes.ts';
import { ArmorDecoder, ArmorEncoder } from './armor.ts';
import { BinaryInput } from './binary-input.ts';

function* pieces(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += size) yield bytes.slice(offset, offset + size);
}

function encode(bytes: Uint8Array, size: number): Uint8Array {
  const encoder = new ArmorEncoder();
  return concatBytes([
    ...[...pieces(bytes, size)].flatMap((piece) => encoder.push(piece)),
    ...encoder.finish(),
  ]);
}

function decode(text: Uint8Array, size = Infinity): Uint8Array {
  const decoder = new ArmorDecoder();
  const parts = [...pieces(text, Math.min(size, Math.max(1, text.length)))].flatMap((piece) =>
    decoder.push(piece),
  );
  return concatBytes([...parts, ...decoder.finish()]);
}

test('any bytes in any pieces come back, and the text is that of age-encryption', () => {
  const size = fc.integer({ min: 1, max: 300 });
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 2000 }),
      size,
      size,
      fc.boolean(),
      (bytes, sizeIn, sizeOut, crlf) => {
        const text = encode(bytes, sizeIn);
        // age-encryption leaves the line feed at the end to the caller.
        if (bytes.length > 0)
          assert.equal(asBuffer(text).toString().trimEnd(), oracle.encode(bytes).trimEnd());
        const sent = crlf ? utf8Bytes(asBuffer(text).toString().replaceAll('\n', '\r\n')) : text;
        assert.deepEqual(decode(sent, sizeOut), bytes);
        const input = new BinaryInput();
        const parts = [...pieces(sent, sizeOut)].flatMap((piece) => input.push(piece));
        assert.deepEqual(concatBytes([...parts, ...input.finish()]), bytes);
        assert.equal(input.isArmored, true);
      },
    ),
  );
});

test('foreign characters are found in a long run of lines too', () => {
  const good = asBuffer(encode(new Uint8Array(4800).fill(0x5a), 4800)).toString();
  assert.equal(decode(utf8Bytes(good)).length, 4800);
  const at = good.indexOf('\n') + 65 * 50 + 10;
  for (const bad of ['-', '_', '=', ' ', '\t', '!', '\r', '\n', '\u00e9'])
    assert.throws(() => decode(Buffer.from(good.slice(0, at) + bad + good.slice(at + 1), 'latin1')), {
      code: 'age-armor',
    });
});

test('white space around is taken up to a limit, an endless line is not', () => {
  const text = asBuffer(encode(new Uint8Array(100), 100)).toString();
  assert.equal(decode(utf8Bytes(` \t\n\r\n\n${text}\n \n`)).length, 100);
  for (const bad of [`${'\n'.repeat(2000)}${text}`, `${text}${' '.repeat(2000)}`, `x\n${text}`, `${text}x`])
    assert.throws(() => decode(utf8Bytes(bad)), { code: 'age-armor' });
  const decoder = new ArmorDecoder();
  assert.throws(
    () => {
      for (;;) decoder.push(new Uint8Array(500).fill(0x41));
    },
    { code: 'age-armor' },
  );
});
