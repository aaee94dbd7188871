// Mutated private key files: only SalvageError may come out, in bounded time.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { SalvageError } from '../errors/salvage-error.ts';
import { encodeEd25519PrivateKey, generateEd25519Key } from './encode-private-key.ts';
import { looksLikePrivateKey, maxPrivateKeyFileBytes, parsePrivateKey } from './private-key.ts';

const ed25519 = generateEd25519Key('a comment');
const clear = await encodeEd25519PrivateKey(ed25519);
const locked = await encodeEd25519PrivateKey(ed25519, { passphrase: 'p', rounds: 1 });

async function readsOrRefuses(pem: string | Uint8Array, passphrase?: string): Promise<boolean> {
  try {
    await parsePrivateKey(Buffer.from(pem), 'k').unlock(passphrase);
    return true;
  } catch (error) {
    assert.ok(error instanceof SalvageError, String(error));
    assert.equal(error.code, 'bad-key');
    return false;
  }
}

function mutate(pem: string, at: number, value: number, cut: number): string {
  const [, label, base64] = /^-----BEGIN ([A-Z ]+)-----\n([^-]*)/.exec(pem)!;
  const der = Buffer.from(base64!, 'base64');
  der[at % der.length]! ^= value;
  const kept = cut === 0 ? der.subarray(0, at % der.length) : der;
  return `-----BEGIN ${label}-----\n${kept.toString('base64')}\n-----END ${label}-----\n`;
}

const change = [fc.nat(4000), fc.integer({ min: 1, max: 255 }), fc.nat(20)] as const;

test('OpenSSH format in the clear', async () => {
  assert.ok(await readsOrRefuses(clear));
  await fc.assert(
    fc.asyncProperty(...change, async (at, value, cut) => {
      await readsOrRefuses(mutate(clear, at, value, cut));
    }),
    { numRuns: 1000 },
  );
});

test('OpenSSH format, encrypted: refused before the passphrase, or told to be wrong', async () => {
  assert.ok(await readsOrRefuses(locked, 'p'));
  // Every byte before the salt. Beyond it a change would cost bcrypt rounds, up to 50,000 of them, as it may.
  const head = 15 + 14 + 10 + 4 + 4;
  for (let at = 0; at < head; at++)
    assert.equal(await readsOrRefuses(mutate(locked, at, 0xff, 1), 'p'), false);
  for (const at of [head + 16 + 4, head + 16 + 8, 150, 200])
    assert.equal(await readsOrRefuses(mutate(locked, at, 0xff, 1), 'p'), false);
});

for (const [name, pem] of [
  [
    'PKCS#1',
    generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey.export({ type: 'pkcs1', format: 'pem' }),
  ],
  ['PKCS#8', generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })],
  [
    'SEC 1',
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'sec1', format: 'pem' }),
  ],
] as const)
  test(`${name} in the clear`, async () => {
    assert.ok(await readsOrRefuses(pem));
    await fc.assert(
      fc.asyncProperty(...change, async (at, value, cut) => {
        await readsOrRefuses(mutate(pem as string, at, value, cut));
      }),
      { numRuns: 300 },
    );
  });

test('PKCS#8, encrypted', async () => {
  const pem = generateKeyPairSync('ed25519').privateKey.export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'p',
  }) as string;
  assert.ok(await readsOrRefuses(pem, 'p'));
  await fc.assert(
    fc.asyncProperty(...change, async (at, value, cut) => {
      await readsOrRefuses(mutate(pem, at, value, cut), 'p');
    }),
    { numRuns: 100 },
  );
});

test('PKCS#8 with billions of iterations is refused before they run', () => {
  const pem = generateKeyPairSync('ed25519').privateKey.export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'p',
  }) as string;
  const der = Buffer.from(pem.replace(/-----.*-----/g, ''), 'base64');
  const at = der.indexOf(Buffer.from('02020800', 'hex'));
  assert.ok(at > 0, '2048 iterations');
  const grown = Buffer.concat([
    der.subarray(0, at),
    Buffer.from('02047fffffff', 'hex'),
    der.subarray(at + 4),
  ]);
  // Each of the lengths around it grows by two.
  for (let offset = 0; offset < at;) {
    if (grown[offset] !== 0x30) offset += 2 + grown[offset + 1]!;
    else {
      const long = grown[offset + 1] === 0x81;
      grown[offset + (long ? 2 : 1)]! += 2;
      offset += long ? 3 : 2;
    }
  }
  const text = `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${grown.toString('base64')}\n-----END ENCRYPTED PRIVATE KEY-----\n`;
  assert.throws(() => parsePrivateKey(Buffer.from(text), 'k'), {
    code: 'bad-key',
    message: /2147483647 iterations/,
  });
});

test('other files', async () => {
  for (const text of [
    '',
    'junk',
    clear.slice(0, -10),
    `${clear}x`,
    clear.replaceAll('OPENSSH', 'DSA'),
    clear.replaceAll('OPENSSH', 'SECRET'),
    `${'\n'.repeat(maxPrivateKeyFileBytes)}${clear}`,
    Buffer.alloc(1000, 0xff),
  ])
    assert.equal(await readsOrRefuses(text), false);
  assert.ok(await readsOrRefuses(`\n${clear.replaceAll('\n', '\r\n')}\n`));
  assert.ok(looksLikePrivateKey(Buffer.from(clear)));
  assert.ok(!looksLikePrivateKey(Buffer.from('ssh-ed25519 AAAA')));
});
