import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { slowPrivateKey } from '../../test/support/slow-private-key.ts';
import { asBuffer, concatBytes, toHex, utf8Bytes } from '../bytes/bytes.ts';
import { encodeEd25519PrivateKey, generateEd25519Key } from '../ssh/encode-private-key.ts';
import { formatPublicKey } from '../ssh/public-key.ts';
import { decryptStream } from './decrypt-stream.ts';
import { encryptStream } from './encrypt-stream.ts';
import { createEnvelope, openEnvelope } from './envelope.ts';
import { formatIdentityFile, generateIdentity } from './generate.ts';
import { parseHeader } from './header.ts';
import { HybridRecipient } from './hybrid.ts';
import { parseIdentityFile } from './identity-file.ts';
import { parseRecipient } from './parse-recipient.ts';
import type { Identity, Recipient } from './recipient.ts';
import { ScryptRecipient } from './scrypt.ts';
import { X25519Recipient } from './x25519.ts';

const created = new Date('2026-01-02T03:04:05.678Z');
const native = generateIdentity();
const hybrid = generateIdentity('hybrid');

/** Only native keys have a text. */
function textOf(recipient: Recipient | undefined): string {
  assert.ok(recipient instanceof X25519Recipient || recipient instanceof HybridRecipient);
  return recipient.toString();
}

function parse(bytes: string | Uint8Array, passphrases: string[] = []): Identity[] {
  return parseIdentityFile(typeof bytes === 'string' ? utf8Bytes(bytes) : bytes, {
    name: 'key.txt',
    requestPassphrase: async (prompt) => {
      assert.match(prompt, /"key.txt"$/);
      const passphrase = passphrases.shift();
      assert.ok(passphrase !== undefined, 'a passphrase was asked for once too often');
      return passphrase;
    },
  });
}

async function encrypt(text: string, recipient: Recipient, armor = false): Promise<Uint8Array> {
  async function* source(): AsyncGenerator<Uint8Array> {
    yield utf8Bytes(text);
  }
  const parts: Uint8Array[] = [];
  for await (const part of encryptStream(source(), [recipient], { armor })) parts.push(part);
  return concatBytes(parts);
}

test('a file as age-keygen writes it', async () => {
  const text = formatIdentityFile(native, created);
  assert.match(
    text,
    /^# created: 2026-01-02T03:04:05Z\n# public key: age1[0-9a-z]{58}\nAGE-SECRET-KEY-1[0-9A-Z]{58}\n$/,
  );
  assert.match(
    formatIdentityFile(hybrid, created),
    /# public key: age1pq1.*\nAGE-SECRET-KEY-PQ-1[0-9A-Z]{58}\n$/,
  );
  const both = parse(`${text}\r\n\n${hybrid.toSecretString()}`);
  assert.equal(both.length, 2);
  for (const [index, { recipient }] of [native, hybrid].entries()) {
    const { fileKey, header } = await createEnvelope([recipient]);
    assert.equal(toHex((await openEnvelope(parseHeader(header), [both[index]!]))!), toHex(fileKey));
    assert.equal(textOf((await both[index]!.recipients!())[0]), recipient.toString());
  }
});

test('a file encrypted to a passphrase asks for it when it is needed, once', async () => {
  for (const armor of [false, true]) {
    const file = await encrypt(formatIdentityFile(native, created), new ScryptRecipient('open', 2), armor);
    const passphrases = ['wrong', 'open'];
    const [identity] = parse(file, passphrases);
    const { fileKey, header } = await createEnvelope([native.recipient]);
    assert.equal(passphrases.length, 2);
    await assert.rejects(openEnvelope(parseHeader(header), [identity!]), {
      code: 'bad-key',
      message: /passphrase is wrong/,
    });
    for (const _ of [1, 2])
      assert.equal(toHex((await openEnvelope(parseHeader(header), [identity!]))!), toHex(fileKey));
    assert.equal(textOf((await identity!.recipients!())[0]), native.recipient.toString());
    const stranger = await createEnvelope([generateIdentity().recipient]);
    assert.equal(await openEnvelope(parseHeader(stranger.header), [identity!]), undefined);
  }
});

test('somebody who types gets as many tries as there are, and no more', async () => {
  const file = await encrypt(formatIdentityFile(native, created), new ScryptRecipient('open', 2));
  const { fileKey, header } = await createEnvelope([native.recipient]);
  const prompts: string[] = [];
  const open = async (...answers: string[]): Promise<Uint8Array | undefined> => {
    const ask = async (prompt: string): Promise<string> => (prompts.push(prompt), answers.shift()!);
    const requestPassphrase = Object.assign(ask, { attempts: 3 });
    return await openEnvelope(parseHeader(header), parseIdentityFile(file, { name: 'k', requestPassphrase }));
  };
  assert.equal(toHex((await open('a', 'b', 'open'))!), toHex(fileKey));
  const prompt = 'Enter the passphrase for the identity file "k"';
  const again = `Wrong, try again. ${prompt}`;
  assert.deepEqual(prompts, [prompt, again, again]);
  await assert.rejects(open('a', 'b', 'c', 'open'), { message: /passphrase is wrong/ });
});

test('an aborted signal ends the wait for scrypt and bcrypt', async () => {
  const { header } = await createEnvelope([native.recipient]);
  const scrypt = await encrypt(formatIdentityFile(native, created), new ScryptRecipient('open', 17));
  const key = generateEd25519Key('');
  const locked = slowPrivateKey(await encodeEd25519PrivateKey(key, { passphrase: 'open', rounds: 1 }));
  const ssh = await createEnvelope([parseRecipient(formatPublicKey(key.publicKey))!]);
  for (const [file, sealed] of [
    [scrypt, header],
    [utf8Bytes(locked), ssh.header],
  ] as const) {
    const stop = new AbortController();
    const reason = new Error('enough');
    const requestPassphrase = async (): Promise<string> => {
      setImmediate(() => stop.abort(reason));
      return 'open';
    };
    const identities = parseIdentityFile(file, { name: 'k', requestPassphrase, signal: stop.signal });
    await assert.rejects(openEnvelope(parseHeader(sealed), identities), reason);
  }
});

test('an identity file that is encrypted otherwise, or holds no identities, is refused', async () => {
  const toKey = await encrypt(formatIdentityFile(native, created), hybrid.recipient);
  assert.throws(() => parse(toKey), { code: 'bad-key', message: /not with a passphrase/ });
  const [nonsense] = parse(await encrypt('nonsense', new ScryptRecipient('open', 2)), ['open']);
  const { header } = await createEnvelope([native.recipient]);
  await assert.rejects(openEnvelope(parseHeader(header), [nonsense!]), {
    code: 'bad-key',
    message: /line 1/,
  });
});

test('what is malformed is refused with its line, and nothing of it is repeated', () => {
  const secret = native.toSecretString();
  for (const [text, state] of [
    ['', /no identity/],
    ['# only a comment\n', /no identity/],
    [secret.slice(0, -1), /line 1 .* AGE-SECRET-KEY-1/],
    [`${secret}\n${secret.toLowerCase()}`, /line 2/],
    [` ${secret}`, /line 1/],
    [native.recipient.toString(), /public key/],
    ['ssh-ed25519 AAAA', /public key/],
    ['AGE-PLUGIN-YUBIKEY-1QQQQ', /no plugins are run here/],
    ['age-encryption.org/v1\n-> x', /malformed/],
    [`-----BEGIN X-----\n${'a'.repeat(20_000)}`, /16 KiB/],
  ] as const)
    assert.throws(
      () => parse(text),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, 'bad-key');
        assert.match(error.message, state);
        assert.ok(!error.message.toUpperCase().includes(secret.slice(-20)));
        return true;
      },
    );
});

test('nothing shows the secret but toSecretString', () => {
  for (const identity of [native, hybrid])
    assert.ok(!inspect(identity, { showHidden: true, depth: 5 }).includes('SECRET'));
});

test('a stream that is opened with several identities', async () => {
  const file = await encrypt('hello', hybrid.recipient);
  async function* source(): AsyncGenerator<Uint8Array> {
    yield file;
  }
  let text = '';
  for await (const part of decryptStream(source(), [native, hybrid])) text += asBuffer(part).toString();
  assert.equal(text, 'hello');
});
