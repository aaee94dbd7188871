// Every native recipient type, armor and inspection, in both directions: age 1.3, age 1.1 and age-encryption. SSH keys have
// a file of their own.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createECDH, ECDH } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { Decrypter, Encrypter } from 'age-encryption';
import { decryptStream } from '../../src/age/decrypt-stream.ts';
import { encryptStream } from '../../src/age/encrypt-stream.ts';
import { formatIdentityFile, generateIdentity } from '../../src/age/generate.ts';
import { parseHeader } from '../../src/age/header.ts';
import { parseIdentityFile } from '../../src/age/identity-file.ts';
import { inspectAgeFile } from '../../src/age/inspect.ts';
import { mlKemDecapsulate, mlKemEncapsulationKey } from '../../src/age/ml-kem.ts';
import { parseRecipient } from '../../src/age/parse-recipient.ts';
import type { Identity, Recipient } from '../../src/age/recipient.ts';
import { ScryptIdentity, ScryptRecipient } from '../../src/age/scrypt.ts';
import {
  HybridTagRecipient,
  matchesTag,
  openTagStanza,
  parseTagStanza,
  TagRecipient,
} from '../../src/age/tag.ts';
import { randomBytes } from '../../src/clock/random.ts';
import { age11, age13, age13Folder, needsPeers } from '../support/peers.ts';

const folder = mkdtempSync(join(tmpdir(), 'salvage-age-interop-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string): string => join(folder, name);
const lengths = [0, 1, 65_536, 200_000];
const plaintexts = lengths.map((length) => Buffer.from(randomBytes(length)));
const passphrase = 'correct horse battery staple';

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += 50_000) yield bytes.subarray(offset, offset + 50_000);
}

async function encrypt(bytes: Uint8Array, recipients: Recipient[], armor = false): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(encryptStream(pieces(bytes), recipients, { armor })));
}

async function decrypt(bytes: Uint8Array, identities: Identity[]): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(decryptStream(pieces(bytes), identities)));
}

/** Runs a version of age, with the plugins of 1.3 on its path, and fails if it does. */
function age(program: string, args: string[], input: Uint8Array): Buffer {
  const result = spawnSync(program, args, {
    input,
    maxBuffer: 1 << 26,
    env: {
      ...process.env,
      PATH: `${age13Folder}:${process.env['PATH']}`,
      AGE_PASSPHRASE: passphrase,
      AGE_PASSPHRASE_WORK_FACTOR: '10',
    },
  });
  assert.equal(result.status, 0, result.stderr.toString());
  return result.stdout;
}

const native = generateIdentity();
const hybrid = generateIdentity('hybrid');
writeFileSync(path('native'), formatIdentityFile(native, new Date(0)));
writeFileSync(path('hybrid'), formatIdentityFile(hybrid, new Date(0)));

describe('age files', needsPeers, () => {
  for (const [name, program] of [
    ['age 1.3', age13],
    ['age 1.1', age11],
  ] as const)
    test(`X25519 with ${name}, with and without armor`, async () => {
      for (const plaintext of plaintexts)
        for (const armor of [false, true]) {
          const ours = await encrypt(plaintext, [native.recipient], armor);
          assert.ok(age(program, ['-d', '-i', path('native')], ours).equals(plaintext));
          const args = ['-r', native.recipient.toString(), ...(armor ? ['-a'] : [])];
          assert.ok((await decrypt(age(program, args, plaintext), [native])).equals(plaintext));
        }
    });

  test('post-quantum keys with age 1.3', async () => {
    for (const plaintext of plaintexts) {
      const ours = await encrypt(plaintext, [hybrid.recipient]);
      assert.ok(age(age13, ['-d', '-i', path('hybrid')], ours).equals(plaintext));
      const theirs = age(age13, ['-r', hybrid.recipient.toString()], plaintext);
      assert.ok((await decrypt(theirs, [native, hybrid])).equals(plaintext));
    }
  });

  test('several recipients, each opens', async () => {
    const second = generateIdentity();
    const ours = await encrypt(plaintexts[3]!, [second.recipient, native.recipient]);
    assert.ok(age(age13, ['-d', '-i', path('native')], ours).equals(plaintexts[3]!));
    const args = ['-r', native.recipient.toString(), '-r', second.recipient.toString()];
    const theirs = age(age13, args, plaintexts[3]!);
    for (const identity of [native, second])
      assert.ok((await decrypt(theirs, [identity])).equals(plaintexts[3]!));
  });

  test('passphrases', async () => {
    for (const plaintext of plaintexts) {
      const ours = await encrypt(plaintext, [new ScryptRecipient(passphrase, 10)]);
      assert.ok(age(age13, ['-d', '-j', 'batchpass'], ours).equals(plaintext));
      const theirs = age(age13, ['-e', '-j', 'batchpass'], plaintext);
      assert.ok((await decrypt(theirs, [new ScryptIdentity(passphrase)])).equals(plaintext));
    }
  });

  test('an identity file encrypted with age', async () => {
    const encrypted = age(age13, ['-e', '-j', 'batchpass', '-a'], readFileSync(path('native')));
    const [identity] = parseIdentityFile(encrypted, {
      name: 'key',
      requestPassphrase: async () => passphrase,
    });
    const theirs = age(age13, ['-r', native.recipient.toString()], plaintexts[1]!);
    assert.ok((await decrypt(theirs, [identity!])).equals(plaintexts[1]!));
  });

  test('keys of age-keygen, and ours converted by it', async () => {
    for (const [flags, own] of [
      [[], native],
      [['-pq'], hybrid],
    ] as const) {
      const keygen = (args: string[], input = ''): string =>
        spawnSync(join(age13Folder, 'age-keygen'), args, { input, encoding: 'utf8' }).stdout;
      const text = keygen([...flags]);
      const [identity] = parseIdentityFile(Buffer.from(text), {
        name: 'key',
        requestPassphrase: assert.fail,
      });
      const recipient = /public key: (.*)/.exec(text)![1]!;
      const ours = await encrypt(plaintexts[1]!, [parseRecipient(recipient)!]);
      assert.ok((await decrypt(ours, [identity!])).equals(plaintexts[1]!));
      assert.equal(keygen(['-y'], formatIdentityFile(own, new Date(0))).trim(), own.recipient.toString());
    }
  });

  test('tokens: the plugin with a fixed key opens ours', async () => {
    const plugin = readFileSync(join(age13Folder, 'age-plugin-tagtest')).toString('latin1');
    const classic = /age1tag1[02-9ac-hj-np-z]{59}/.exec(plugin)![0];
    const postQuantum = /age1tagpq1[02-9ac-hj-np-z]{2005}/.exec(plugin)![0];
    for (const text of [classic, postQuantum])
      for (const plaintext of plaintexts) {
        const recipient = parseRecipient(text)!;
        assert.ok(recipient instanceof TagRecipient || recipient instanceof HybridTagRecipient);
        assert.equal(recipient.toString(), text);
        const ours = await encrypt(plaintext, [recipient]);
        assert.ok(age(age13, ['-d', '-j', 'tagtest'], ours).equals(plaintext));
      }
  });

  test("tokens: age's open with what a token computes", async () => {
    const token = createECDH('prime256v1');
    const point = token.generateKeys();
    const seed = randomBytes(64);
    const compressed = ECDH.convertKey(point, 'prime256v1', undefined, undefined, 'compressed') as Buffer;
    const recipients = [
      new TagRecipient(compressed),
      new HybridTagRecipient(Buffer.concat([mlKemEncapsulationKey(seed), point])),
    ];
    const identity: Identity = {
      unwrapFileKey(stanzas) {
        for (const stanza of stanzas) {
          const parsed = parseTagStanza(stanza);
          if (!parsed || !matchesTag(parsed, point)) continue;
          const secret = parsed.mlKemCiphertext && mlKemDecapsulate(seed, parsed.mlKemCiphertext);
          return openTagStanza(parsed, token.computeSecret(parsed.ephemeral), point, secret);
        }
        return undefined;
      },
    };
    for (const recipient of recipients) {
      const theirs = age(age13, ['-r', recipient.toString()], plaintexts[3]!);
      assert.ok((await decrypt(theirs, [identity])).equals(plaintexts[3]!));
      const [stanza] = parseHeader(theirs).stanzas;
      const other = createECDH('prime256v1').generateKeys();
      assert.ok(!matchesTag(parseTagStanza(stanza!)!, other));
      assert.throws(() => parseTagStanza({ ...stanza!, args: ['AAAA', 'AAAA'] }), { code: 'age-header' });
      assert.throws(() => parseTagStanza({ ...stanza!, body: new Uint8Array(33) }), { code: 'age-header' });
    }
  });

  test('inspection says what age-inspect says', async () => {
    const files: Buffer[] = [
      await encrypt(plaintexts[3]!, [native.recipient]),
      await encrypt(plaintexts[0]!, [native.recipient, generateIdentity().recipient], true),
      await encrypt(plaintexts[2]!, [hybrid.recipient]),
      await encrypt(plaintexts[1]!, [new ScryptRecipient(passphrase, 1)], true),
      await encrypt(plaintexts[1]!, [
        {
          wrapFileKey: () => ({
            stanzas: [{ type: 'odd', args: ['x'], body: new Uint8Array(48) }],
            labels: [],
          }),
        },
      ]),
    ];
    for (const file of files) {
      writeFileSync(path('inspected'), file);
      const { stdout } = spawnSync(join(age13Folder, 'age-inspect'), ['--json', path('inspected')]);
      const expected: unknown = JSON.parse(stdout.toString());
      assert.deepEqual(await inspectAgeFile(pieces(file)), expected);
      assert.deepEqual(await inspectAgeFile(pieces(file), file.length), expected);
      assert.equal(JSON.stringify(await inspectAgeFile(pieces(file)), null, 4), stdout.toString().trim());
    }
  });
});

test('age-encryption, in both directions', async () => {
  for (const plaintext of plaintexts) {
    for (const identity of [native, hybrid]) {
      const theirs = new Encrypter();
      theirs.addRecipient(identity.recipient.toString());
      assert.ok(
        (await decrypt(await theirs.encrypt(new Uint8Array(plaintext)), [identity])).equals(plaintext),
      );
      const opener = new Decrypter();
      opener.addIdentity(identity.toSecretString());
      const ours = await encrypt(plaintext, [identity.recipient]);
      assert.ok(plaintext.equals(await opener.decrypt(new Uint8Array(ours))));
    }
    const theirs = new Encrypter();
    theirs.setPassphrase(passphrase);
    theirs.setScryptWorkFactor(8);
    const sealed = await theirs.encrypt(new Uint8Array(plaintext));
    assert.ok((await decrypt(sealed, [new ScryptIdentity(passphrase)])).equals(plaintext));
    const opener = new Decrypter();
    opener.addPassphrase(passphrase);
    const ours = await encrypt(plaintext, [new ScryptRecipient(passphrase, 8)]);
    assert.ok(plaintext.equals(await opener.decrypt(new Uint8Array(ours))));
  }
});
