import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concatBytes, toHex } from '../bytes/bytes.ts';
import { createEnvelope, openEnvelope } from './envelope.ts';
import { encodeHeader, parseHeader } from './header.ts';
import { HybridIdentity } from './hybrid.ts';
import type { Identity, Recipient } from './recipient.ts';
import { ScryptIdentity, ScryptRecipient } from './scrypt.ts';
import { X25519Identity } from './x25519.ts';

const classic = X25519Identity.generate();
const hybrid = HybridIdentity.generate();
const passphrase = new ScryptRecipient('secret', 2);

function labelled(...labels: string[]): Recipient {
  return {
    wrapFileKey: () => ({ stanzas: [{ type: 'test', args: [], body: new Uint8Array(0) }], labels }),
  };
}

async function assertOpens(fileKey: Uint8Array, opening: Promise<Uint8Array | undefined>): Promise<void> {
  assert.equal(toHex((await opening)!), toHex(fileKey));
}

test('recipients with different labels are refused, and the text says why', async () => {
  for (const [recipients, message] of [
    [[classic.recipient, hybrid.recipient], /post-quantum/],
    [[hybrid.recipient, labelled()], /post-quantum/],
    [[passphrase, classic.recipient], /passphrase must be the only/],
    [[passphrase, passphrase], /passphrase must be the only/],
    [[labelled('a'), labelled('a', 'b')], /mixed/],
    [[], /no recipient/],
  ] as [Recipient[], RegExp][])
    await assert.rejects(createEnvelope(recipients), { code: 'bad-key', message });
});

test('recipients with the same set of labels are taken', async () => {
  await createEnvelope([labelled('a', 'b'), labelled('b', 'a', 'a')]);
  const { fileKey, header } = await createEnvelope([hybrid.recipient, labelled('postquantum')]);
  await assertOpens(fileKey, openEnvelope(parseHeader(header), [hybrid]));
});

test('each of several recipients opens the file, a stranger does not', async () => {
  const second = X25519Identity.generate();
  const { fileKey, header } = await createEnvelope([classic.recipient, second.recipient]);
  for (const identity of [classic, second])
    await assertOpens(fileKey, openEnvelope(parseHeader(header), [hybrid, identity]));
  assert.equal(await openEnvelope(parseHeader(header), [X25519Identity.generate()]), undefined);
  assert.equal(await openEnvelope(parseHeader(header), []), undefined);
});

test('whoever can be asked in silence is asked first', async () => {
  const { fileKey, header } = await createEnvelope([classic.recipient]);
  const human: Identity = {
    interactive: true,
    unwrapFileKey() {
      throw new Error('asked');
    },
  };
  await assertOpens(fileKey, openEnvelope(parseHeader(header), [human, classic]));
});

test('a passphrase is asked for only by a file that has one, and must be its only way in', async () => {
  const asking = new ScryptIdentity(() => {
    throw new Error('asked');
  });
  const { header } = await createEnvelope([classic.recipient]);
  assert.equal(await openEnvelope(parseHeader(header), [asking]), undefined);

  const fileKey = new Uint8Array(16);
  const { stanzas } = await passphrase.wrapFileKey(fileKey);
  const mixed = encodeHeader([...stanzas, ...classic.recipient.wrapFileKey(fileKey).stanzas], fileKey);
  await assert.rejects(openEnvelope(parseHeader(mixed), [classic]), { code: 'age-header' });
});

test('a huge work factor is refused before memory is taken', async () => {
  const fileKey = new Uint8Array(16);
  const { stanzas } = await passphrase.wrapFileKey(fileKey);
  const before = process.memoryUsage().rss;
  for (const logN of ['23', '30', '64', '9'.repeat(400)]) {
    const header = encodeHeader([{ ...stanzas[0]!, args: [stanzas[0]!.args[0]!, logN] }], fileKey);
    await assert.rejects(openEnvelope(parseHeader(header), [new ScryptIdentity('secret')]), {
      code: 'age-header',
      message: /work factor/,
    });
  }
  assert.ok(process.memoryUsage().rss - before < 256 * 1024 * 1024);
  assert.throws(() => new ScryptIdentity('secret', { maxLogN: 31 }), RangeError);
});

const typed = (...passphrases: string[]): (() => AsyncGenerator<string>) =>
  async function* () {
    yield* passphrases;
  };

test('the right passphrase opens, the wrong one is no match', async () => {
  const { fileKey, header } = await createEnvelope([passphrase]);
  await assertOpens(
    fileKey,
    openEnvelope(parseHeader(header), [new ScryptIdentity(typed('wrong', 'secret'))]),
  );
  for (const wrong of ['Secret', typed('Secret', 'SECRET')])
    assert.equal(await openEnvelope(parseHeader(header), [new ScryptIdentity(wrong)]), undefined);
  assert.throws(() => new ScryptRecipient(''), { code: 'bad-key' });
});

test('a stanza added by somebody else breaks the MAC', async () => {
  const { header } = await createEnvelope([classic.recipient]);
  const text = Buffer.from(header).toString('latin1');
  const added = Buffer.from(text.replace('\n--- ', '\n-> extra\n\n--- '), 'latin1');
  await assert.rejects(openEnvelope(parseHeader(concatBytes([added])), [classic]), { code: 'age-hmac' });
});
