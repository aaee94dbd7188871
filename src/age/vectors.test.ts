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

for (const vector of readAgeVectors()) {
  for (const size of [Infinity, 1000, 65552, 1]) {
    if (size === 1 && vector.file.length > 200_000) continue;
    test(`${vector.name} in pieces of ${size}`, async () => {
      await check(vector, async (release) => {
        const armor = vector.armored ? 'armored' : 'binary';
        for await (const part of decryptStream(
          pieces(vector.file, Math.min(size, vector.file.length)),
          identitiesOf(vector),
          { armor },
        ))
          release(part);
      });
    });
  }

  test(`${vector.name} by random access`, async () => {
    // What is released before a failure depends on the order of reading, so only a success has all of the payload.
    const comparable = vector.expect === 'success' ? vector : { ...vector, payload: undefined };
    await check(comparable, async (release) => {
      const input = new BinaryInput(vector.armored ? 'armored' : 'binary');
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
