import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Encrypter } from 'age-encryption';
import * as fc from 'fast-check';
import { concatBytes } from '../bytes/bytes.ts';
import { randomBytes } from '../clock/random.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { PayloadDecryptor } from './payload-decryptor.ts';
import { PayloadEncryptor } from './payload-encryptor.ts';
import {
  chunkBytes,
  decryptPayload,
  encryptedPayloadBytes,
  encryptPayload,
  payloadLayout,
  sealedChunkBytes,
} from './payload.ts';

const fileKey = new Uint8Array(16).fill(3);
const source = randomBytes(4 * chunkBytes);

/** Lengths at which something changes: around no, one, two and three chunks. */
const boundaries = [0, 1, 2, 3]
  .flatMap((n) => [-1, 0, 1].map((d) => n * chunkBytes + d))
  .filter((n) => n >= 0);
const length = fc.oneof(fc.constantFrom(...boundaries), fc.nat(3 * chunkBytes));
/** Piece sizes, taken in turn. */
const sizes = fc.array(
  fc.oneof(fc.constantFrom(...boundaries.filter((n) => n > 0)), fc.integer({ min: 1, max: 70_000 })),
  {
    minLength: 1,
    maxLength: 6,
  },
);

function* pieces(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  for (let offset = 0, turn = 0; offset < bytes.length; turn++) {
    const size = sizes[turn % sizes.length]!;
    // A piece of its own, spoilt afterwards: whoever keeps it without copying is found out.
    const piece = bytes.slice(offset, offset + size);
    yield piece;
    piece.fill(0xee);
    offset += size;
  }
}

function encryptInPieces(plaintext: Uint8Array, sizes: readonly number[], nonce?: Uint8Array): Uint8Array {
  const encryptor = new PayloadEncryptor(fileKey, nonce);
  const parts: Uint8Array[] = [];
  for (const piece of pieces(plaintext, sizes)) parts.push(...encryptor.push(piece));
  parts.push(...encryptor.finish());
  return concatBytes(parts);
}

/** What is released, and the failure that ends it. */
function decryptInPieces(
  payload: Uint8Array,
  sizes: readonly number[],
): { plaintext: Uint8Array; code?: string } {
  const decryptor = new PayloadDecryptor(fileKey);
  const parts: Uint8Array[] = [];
  try {
    for (const piece of pieces(payload, sizes)) parts.push(...decryptor.push(piece));
    parts.push(...decryptor.finish());
  } catch (error) {
    assert.ok(error instanceof SalvageError);
    return { plaintext: concatBytes(parts), code: error.code };
  }
  return { plaintext: concatBytes(parts) };
}

test('any length in any pieces comes back, whole and in pieces', () => {
  fc.assert(
    fc.property(length, sizes, sizes, (length, sizesIn, sizesOut) => {
      const plaintext = source.subarray(0, length);
      const payload = encryptInPieces(plaintext, sizesIn);
      assert.equal(payload.length, encryptedPayloadBytes(length));
      assert.equal(payloadLayout(payload.length).plaintextBytes, length);
      assert.ok(Buffer.from(decryptPayload(fileKey, payload)).equals(plaintext));
      const { plaintext: released, code } = decryptInPieces(
        concatBytes(encryptPayload(fileKey, plaintext)),
        sizesOut,
      );
      assert.equal(code, undefined);
      assert.ok(Buffer.from(released).equals(plaintext));
    }),
    { numRuns: 60 },
  );
});

test('the bytes are those of age-encryption for the same file key and nonce', async () => {
  for (const length of boundaries) {
    const plaintext = source.slice(0, length);
    let captured = new Uint8Array(0);
    const encrypter = new Encrypter();
    encrypter.addRecipient({
      wrapFileKey(key) {
        captured = Uint8Array.from(key);
        return [];
      },
    });
    const file = await encrypter.encrypt(plaintext);
    const payload = file.subarray(file.length - encryptedPayloadBytes(length));
    const encryptor = new PayloadEncryptor(captured, payload.slice(0, 16));
    const ours = concatBytes([...encryptor.push(plaintext), ...encryptor.finish()]);
    assert.ok(Buffer.from(ours).equals(payload), `${length} bytes`);
  }
});

test('a payload cut anywhere is refused, and only whole chunks are released', () => {
  const payload = concatBytes(encryptPayload(fileKey, source.subarray(0, 2 * chunkBytes + 100)));
  fc.assert(
    fc.property(fc.nat(payload.length - 1), sizes, (cut, sizes) => {
      const { plaintext, code } = decryptInPieces(payload.subarray(0, cut), sizes);
      assert.equal(code, cut < 16 ? 'age-header' : 'age-payload');
      const chunks = Math.min(2, Math.floor(Math.max(0, cut - 16) / sealedChunkBytes));
      assert.equal(plaintext.length, chunks * chunkBytes);
      assert.throws(() => decryptPayload(fileKey, payload.subarray(0, cut)), { code: 'age-payload' });
    }),
    { numRuns: 60 },
  );
});

test('a changed, swapped, doubled or trailing byte or chunk is refused; the chunks before it are released', () => {
  const payload = concatBytes(encryptPayload(fileKey, source.subarray(0, 3 * chunkBytes)));
  const chunkAt = (index: number): Uint8Array =>
    payload.subarray(16 + index * sealedChunkBytes, 16 + (index + 1) * sealedChunkBytes);
  const nonce = payload.subarray(0, 16);
  const flipped = Uint8Array.from(payload);
  flipped[16 + sealedChunkBytes + 5]! ^= 0x80;
  for (const [what, damaged, good] of [
    ['flipped bit', flipped, 1],
    ['swapped chunks', concatBytes([nonce, chunkAt(1), chunkAt(0), chunkAt(2)]), 0],
    ['doubled chunk', concatBytes([nonce, chunkAt(0), chunkAt(0), chunkAt(1), chunkAt(2)]), 1],
    ['missing chunk', concatBytes([nonce, chunkAt(0), chunkAt(2)]), 1],
    ['last chunk missing', concatBytes([nonce, chunkAt(0), chunkAt(1)]), 2],
    ['trailing byte', concatBytes([payload, Uint8Array.of(0)]), 3],
    ['trailing chunk', concatBytes([payload, chunkAt(2)]), 3],
  ] as const)
    for (const size of [1000, 65_552, 65_536, 1_000_000]) {
      const { plaintext, code } = decryptInPieces(damaged, [size]);
      assert.equal(code, 'age-payload', what);
      assert.ok(
        Buffer.from(plaintext).equals(source.subarray(0, good * chunkBytes)),
        `${what} in pieces of ${size}`,
      );
      assert.throws(() => decryptPayload(fileKey, damaged), { code: 'age-payload' }, what);
    }
});

test('an empty last chunk after others is refused', () => {
  assert.throws(() => payloadLayout(16 + sealedChunkBytes + 16), { code: 'age-payload' });
  assert.equal(payloadLayout(32).plaintextBytes, 0);
});
