import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { readAgeVectors } from '../../test/support/age-vectors.ts';
import type { AgeVector, Expectation } from '../../test/support/age-vectors.ts';
import { concatBytes } from '../bytes/bytes.ts';
import { BinaryInput } from './binary-input.ts';
import { openRandomAccess } from './random-access.ts';
import { HybridIdentity } from './hybrid.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import type { ErrorCode } from '../errors/salvage-error.ts';
import { decryptStream } from './decrypt-stream.ts';
import { openEnvelopeOrThrow } from './envelope.ts';
import { HeaderParser } from './header.ts';
import { PayloadDecryptor } from './payload-decryptor.ts';
import type { Identity } from './recipient.ts';
import { ScryptIdentity } from './scrypt.ts';
import { X25519Identity } from './x25519.ts';

const codes: Record<Exclude<Expectation, 'success'>, ErrorCode> = {
  'header failure': 'age-header',
  'armor failure': 'age-armor',
  'payload failure': 'age-payload',
  'no match': 'no-identity-match',
  'HMAC failure': 'age-hmac',
};

function identitiesOf(vector: AgeVector): Identity[] {
  return [
    ...vector.identities.map((text) =>
      text.startsWith('AGE-SECRET-KEY-PQ-') ? HybridIdentity.parse(text) : X25519Identity.parse(text),
    ),
    ...vector.passphrases.map((text) => new ScryptIdentity(text)),
  ];
}

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += size) yield bytes.slice(offset, offset + size);
}

async function check(
  vector: AgeVector,
  run: (release: (part: Uint8Array) => void) => Promise<void>,
): Promise<void> {
  const hash = createHash('sha256');
  let code: ErrorCode | 'success' = 'success';
  try {
    await run((part) => hash.update(part));
  } catch (error) {
    if (!(error instanceof SalvageError)) throw error;
    code = error.code;
  }
  assert.equal(code, vector.expect === 'success' ? 'success' : codes[vector.expect]);
  if (vector.payload !== undefined) assert.equal(hash.digest('hex'), vector.payload);
}

/** The parts themselves, without the iterators, which cost far more than a byte. */
async function decryptByteByByte(vector: AgeVector, release: (part: Uint8Array) => void): Promise<void> {
  const input = new BinaryInput(vector.armored ? 'armored' : 'binary');
  const header = new HeaderParser();
  let payload: PayloadDecryptor | undefined;
  const take = async (parts: Uint8Array[]): Promise<void> => {
    for (const part of parts)
      if (payload) payload.push(part).forEach(release);
      else if (header.push(part)) {
        payload = new PayloadDecryptor(await openEnvelopeOrThrow(header.header!, identitiesOf(vector)));
        payload.push(header.rest).forEach(release);
      }
  };
  for (let offset = 0; offset < vector.file.length; offset++) {
    const parts = input.push(vector.file.subarray(offset, offset + 1));
    if (payload) for (const part of parts) payload.push(part).forEach(release);
    else if (parts.length > 0) await take(parts);
  }
  await take(input.finish());
  if (!payload) return header.finish();
  payload.finish().forEach(release);
}

for (const vector of readAgeVectors()) {
  const armor = vector.armored ? 'armored' : 'binary';
  for (const size of [Infinity, 65_552, 1000])
    test(`${vector.name} in pieces of ${size}`, async () => {
      await check(vector, async (release) => {
        const source = pieces(vector.file, Math.min(size, vector.file.length));
        for await (const part of decryptStream(source, identitiesOf(vector), { armor })) release(part);
      });
    });
  // Those that are larger are many equal chunks, which add nothing.
  if (vector.file.length < 1_000_000)
    test(`${vector.name} byte by byte`, async () => {
      await check(vector, (release) => decryptByteByByte(vector, release));
    });
  test(`${vector.name} by random access`, async () => {
    // What is released before a failure depends on the order of reading, so only a success has all of the payload.
    const comparable = vector.expect === 'success' ? vector : { ...vector, payload: undefined };
    await check(comparable, async (release) => {
      const input = new BinaryInput(armor);
      const file = concatBytes([...input.push(vector.file), ...input.finish()]);
      const source = {
        size: file.length,
        read: async (offset: number, length: number) => file.slice(offset, offset + length),
      };
      const reader = await openRandomAccess(source, identitiesOf(vector));
      for (let offset = 0; offset < reader.size; offset += 100_000)
        release(await reader.read(offset, 100_000));
    });
  });
}
