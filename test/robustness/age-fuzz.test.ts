// Everything in src/age that reads foreign bytes, fed with damaged ones: only a SalvageError may come out, whatever the
// pieces, and soon. SLOW=1 runs longer; SEED=N repeats a run.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { before, test } from 'node:test';
import { ArmorDecoder } from '../../src/age/armor.ts';
import { decryptStream } from '../../src/age/decrypt-stream.ts';
import { encryptStream } from '../../src/age/encrypt-stream.ts';
import { openEnvelope } from '../../src/age/envelope.ts';
import { formatIdentityFile, generateIdentity } from '../../src/age/generate.ts';
import { HeaderParser } from '../../src/age/header.ts';
import { parseIdentityFile } from '../../src/age/identity-file.ts';
import { inspectAgeFile } from '../../src/age/inspect.ts';
import { openRandomAccess } from '../../src/age/random-access.ts';
import type { Recipient } from '../../src/age/recipient.ts';
import { parseRecipientsFile } from '../../src/age/recipients-file.ts';
import { ScryptIdentity, ScryptRecipient } from '../../src/age/scrypt.ts';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { createRandom, mutate } from '../support/mutations.ts';

const seed = Number(process.env['SEED'] ?? 20_261_123);
const durationMs = process.env['SLOW'] === '1' ? 60_000 : 700;
/** Of the processor: far above what any input of a few kilobytes needs, however busy the machine is. */
const mostWorkMs = 5000;

const native = generateIdentity();
const hybrid = generateIdentity('hybrid');
// A work factor that a mutation makes is refused above this: the limit is on our time, not on age's.
const passphrase = new ScryptIdentity('secret', { maxLogN: 8 });
const identities = [native, hybrid, passphrase];
const requestPassphrase = async (): Promise<string> => 'secret';

const binaryFiles: Buffer[] = [];
const armoredFiles: Buffer[] = [];
const recipientFiles = [
  `# list\n${native.recipient.toString()}\n${hybrid.recipient.toString()}\n`,
  `${native.recipient.toString()}\r\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKx5uVUO7Kzq0qvSmFBwZqT5UHdqVXOXk5vB5v2Tn2xJ a b\n`,
  'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ== x\nage1tag1qwe0kafsjrar4txm6heqnhpfuggzr0gvznz7fvygxrlq90u5mq2pysxtw6h\n',
].map((text) => Buffer.from(text));
const identityFiles: Buffer[] = [
  formatIdentityFile(native, new Date(0)) + hybrid.toSecretString(),
  generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
].map((text) => Buffer.from(text));

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += size) yield bytes.subarray(offset, offset + size);
}

before(async () => {
  const make = async (text: string, recipients: Recipient[], armor: boolean): Promise<Buffer> =>
    Buffer.concat(
      await Array.fromAsync(encryptStream(pieces(Buffer.from(text), 1000), recipients, { armor })),
    );
  const scrypt = new ScryptRecipient('secret', 1);
  for (const armor of [false, true]) {
    const list = armor ? armoredFiles : binaryFiles;
    list.push(await make('hello', [native.recipient, generateIdentity().recipient], armor));
    list.push(await make('x'.repeat(70_000), [native.recipient], armor));
    list.push(await make('hello', [hybrid.recipient], armor), await make('', [scrypt], armor));
    identityFiles.push(await make(native.toSecretString(), [scrypt], armor));
  }
});

/** Runs `read` on mutated seeds for a while. */
function fuzz(
  name: string,
  seeds: readonly Uint8Array[],
  read: (bytes: Buffer, size: number) => Promise<void>,
): void {
  test(name, async () => {
    const random = createRandom(seed);
    let refused = 0;
    let runs = 0;
    for (const end = performance.now() + durationMs; runs < 50 || performance.now() < end; runs++) {
      const bytes = mutate(seeds, random);
      const before = process.cpuUsage();
      try {
        await read(bytes, 1 + random(3000));
      } catch (error) {
        if (!(error instanceof SalvageError))
          throw new Error(`run ${runs} of seed ${seed}: ${bytes.toString('base64')}`, { cause: error });
        refused++;
      }
      const { user, system } = process.cpuUsage(before);
      const workMs = (user + system) / 1000;
      assert.ok(
        workMs < mostWorkMs,
        `run ${runs} of seed ${seed} takes ${workMs} ms: ${bytes.toString('base64')}`,
      );
    }
    assert.ok(refused > 0);
  });
}

fuzz('headers', binaryFiles, async (bytes, size) => {
  const parser = new HeaderParser();
  for await (const piece of pieces(bytes, size))
    if (parser.push(piece)) {
      await openEnvelope(parser.header!, identities);
      return;
    }
  parser.finish();
});

fuzz('armor', armoredFiles, async (bytes, size) => {
  const decoder = new ArmorDecoder();
  for await (const piece of pieces(bytes, size)) decoder.push(piece);
  decoder.finish();
});

for (const [name, files] of [
  ['binary', binaryFiles],
  ['armored', armoredFiles],
] as const) {
  fuzz(`${name} files, decrypted`, files, async (bytes, size) => {
    for await (const part of decryptStream(pieces(bytes, size), identities))
      assert.match(Buffer.from(part).toString('latin1'), /^(?:hello|x*)$/);
  });
  fuzz(`${name} files, inspected`, files, async (bytes, size) => {
    await inspectAgeFile(pieces(bytes, size));
  });
}

fuzz('random access', binaryFiles, async (bytes) => {
  const read = async (offset: number, length: number): Promise<Uint8Array> =>
    bytes.subarray(offset, offset + length);
  const reader = await openRandomAccess({ size: bytes.length, read }, identities);
  await reader.read(0, reader.size);
});

fuzz('recipients files', recipientFiles, async (bytes) => {
  for (const recipient of parseRecipientsFile(bytes, 'list').recipients)
    await recipient.wrapFileKey(new Uint8Array(16));
});

fuzz('identity files', identityFiles, async (bytes) => {
  const options = { name: 'key', requestPassphrase, maxLogN: 8 };
  for (const identity of parseIdentityFile(bytes, options)) await identity.recipients?.();
});
