import assert from 'node:assert/strict';
import { createCipheriv } from 'node:crypto';
import { test } from 'node:test';
import { toHex, utf8Bytes } from '../bytes/bytes.ts';
import { bcryptPbkdf, maxBcryptRounds } from './bcrypt-pbkdf.ts';
import { encipher, expandKey, initialBlowfishState } from './blowfish.ts';
import { poly1305 } from './private-key-cipher.ts';

test('Blowfish: the state is the digits of pi, and the published vectors come out of both ciphers', () => {
  const state = initialBlowfishState();
  const [firstSubkey, firstWord, lastWord] = [state[2048]!, state[0]!, state[2047]!];
  assert.deepEqual(
    [firstSubkey >>> 0, firstWord >>> 0, lastWord >>> 0],
    [0x243f6a88, 0xd1310ba6, 0x3ac372e6],
  );
  // Schneier's vectors: key, plaintext, ciphertext.
  const vectors = [
    ['0000000000000000', '0000000000000000', '4ef997456198dd78'],
    ['ffffffffffffffff', 'ffffffffffffffff', '51866fd5b85ecb8a'],
    ['0123456789abcdef', '1111111111111111', '61f9c3802281b096'],
  ] as const;
  for (const [key0, plain0, cipher0] of vectors)
    for (const [key1, plain1, cipher1] of vectors) {
      const scheduled = initialBlowfishState();
      expandKey(scheduled, alternatingWords(key0, key1));
      const blocks = alternatingWords(plain0, plain1);
      encipher(scheduled, blocks);
      assert.deepEqual(blocks, alternatingWords(cipher0, cipher1));
    }
});

test('bcrypt_pbkdf: a vector of the OpenBSD regression test; lengths of several blocks interleave them', async () => {
  const derive = (length: number): Promise<Uint8Array> =>
    bcryptPbkdf(utf8Bytes('password'), utf8Bytes('salt'), 4, length);
  const first = await derive(32);
  assert.equal(toHex(first), '5bbf0cc293587f1c3635555c27796598d47e579071bf427e9d8fbe842aba34d9');
  const both = await derive(48);
  assert.deepEqual(
    both.filter((_, at) => at % 2 === 0),
    first.subarray(0, 24),
  );
});

test('bcrypt_pbkdf: refuses no rounds and absurdly many', async () => {
  for (const rounds of [0, maxBcryptRounds + 1, 2 ** 32 - 1])
    await assert.rejects(bcryptPbkdf(utf8Bytes('p'), utf8Bytes('s'), rounds, 48), { code: 'bad-key' });
});

test('bcrypt_pbkdf: stops when the run does', async () => {
  const controller = new AbortController();
  const derived = bcryptPbkdf(utf8Bytes('p'), utf8Bytes('s'), maxBcryptRounds, 48, controller.signal);
  const reason = new Error('stopped');
  controller.abort(reason);
  await assert.rejects(derived, reason);
  await assert.rejects(bcryptPbkdf(utf8Bytes('p'), utf8Bytes('s'), 1, 48, controller.signal), reason);
});

test('Poly1305: RFC 8439 section 2.5.2, and what OpenSSL makes of it', () => {
  const key = Buffer.from('85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b', 'hex');
  assert.equal(
    toHex(poly1305(key, utf8Bytes('Cryptographic Forum Research Group'))),
    'a8061dc1305136c6c22b8baf0c0127a9',
  );
  // The AEAD's tag is Poly1305 over the ciphertext, padded, and its lengths.
  for (const length of [16, 64, 1024]) {
    const secret = Buffer.alloc(32, length);
    const cipher = createCipheriv('chacha20-poly1305', secret, Buffer.alloc(12), { authTagLength: 16 });
    const content = Buffer.concat([cipher.update(Buffer.alloc(length, 7)), cipher.final()]);
    const macKey = createCipheriv('chacha20', secret, Buffer.alloc(16)).update(Buffer.alloc(32));
    const lengths = Buffer.alloc(16);
    lengths.writeUInt32LE(length, 8);
    assert.deepEqual(Buffer.from(poly1305(macKey, Buffer.concat([content, lengths]))), cipher.getAuthTag());
  }
});

function alternatingWords(hex0: string, hex1: string): Int32Array {
  const [first, second] = [Buffer.from(hex0, 'hex'), Buffer.from(hex1, 'hex')];
  return Int32Array.of(
    first.readInt32BE(0),
    second.readInt32BE(0),
    first.readInt32BE(4),
    second.readInt32BE(4),
  );
}
