import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { escapeForTerminal } from './escape.ts';

test('what is safe stays as it is', () => {
  for (const text of ['', 'plain name.txt', 'Ünïcödé – 漢字 🙂', 'back\\slash', 'quo\'te"s', 'e\u0301'])
    assert.equal(escapeForTerminal(text), text);
});

test('what a terminal would obey becomes visible', () => {
  const table: [text: string, shown: string][] = [
    ['\x1b[2J', '\\x1b[2J'],
    ['a\nb\r\tc\0', 'a\\nb\\r\\tc\\0'],
    ['\x7f\x80\x9b', '\\x7f\\x80\\x9b'],
    ['invoice\u202efdp.exe', 'invoice\\u202efdp.exe'],
    ['\u2066x\u2069\u200e\u061c', '\\u2066x\\u2069\\u200e\\u061c'],
    ['zero\u200bwidth\ufeff', 'zero\\u200bwidth\\ufeff'],
    ['line\u2028paragraph\u2029', 'line\\u2028paragraph\\u2029'],
    ['tag\u{e0041}', 'tag\\u{e0041}'],
    ['lone\ud800', 'lone\\ud800'],
  ];
  for (const [text, shown] of table) assert.equal(escapeForTerminal(text), shown);
});

test('bytes that are not UTF-8 are shown one by one', () => {
  const table: [bytes: number[], shown: string][] = [
    [[0x61, 0xff, 0x62], 'a\\xffb'],
    [[0xc3, 0x28], '\\xc3('],
    [[0xc0, 0xaf], '\\xc0\\xaf'],
    [[0xed, 0xa0, 0x80], '\\xed\\xa0\\x80'],
    [[0xf0, 0x9f, 0x99], '\\xf0\\x9f\\x99'],
    [[0xf5, 0x80, 0x80, 0x80], '\\xf5\\x80\\x80\\x80'],
    [[0xef, 0xbf, 0xbd, 0xff], '\ufffd\\xff'],
    [[0xc3, 0xa9, 0xe9], 'é\\xe9'],
  ];
  for (const [bytes, shown] of table) assert.equal(escapeForTerminal(Uint8Array.from(bytes)), shown);
});

test('nothing unsafe gets through, and escaping twice changes nothing', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.uint8Array()), (text) => {
      const shown = escapeForTerminal(text);
      assert.doesNotMatch(shown, /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Surrogate}]/u);
      assert.equal(escapeForTerminal(shown), shown);
    }),
  );
});
