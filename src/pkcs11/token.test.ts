import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { SoftwareToken } from '../../test/support/software-token.ts';
import { encodeBase64 } from '../age/base64.ts';
import { createEnvelope, openEnvelope } from '../age/envelope.ts';
import { generateIdentity } from '../age/generate.ts';
import { parseHeader } from '../age/header.ts';
import { hkdfExtract } from '../age/hpke.ts';
import { encodePluginIdentity } from '../age/plugin/plugin-text.ts';
import type { PluginClient } from '../age/plugin/serve-plugin.ts';
import { TagRecipient } from '../age/tag.ts';
import { utf8Bytes } from '../bytes/bytes.ts';
import { attribute } from './cryptoki.ts';
import { modulePath } from './module-path.ts';
import { Pkcs11Plugin } from './pkcs11-plugin.ts';
import { decodeTokenKeyReference, encodeTokenKeyReference } from './token-key-reference.ts';
import { chooseToken, Token, type PinHolder, type TokenKey } from './token.ts';

const id = Uint8Array.of(1, 2, 3);

/** Gives these PINs one after the other, and agrees to a last try if it is to. */
class ScriptedHolder implements PinHolder {
  readonly said: string[] = [];
  readonly #pins: string[];
  readonly #agrees: boolean;

  constructor(pins: readonly string[], agrees = false) {
    this.#pins = [...pins];
    this.#agrees = agrees;
  }

  async requestPin(prompt: string): Promise<string | undefined> {
    this.said.push(prompt);
    return this.#pins.shift();
  }

  async confirmLastTry(warning: string): Promise<boolean> {
    this.said.push(warning);
    return this.#agrees;
  }

  async tell(message: string): Promise<void> {
    this.said.push(message);
  }
}

const prompt = 'Enter the PIN of the token "toy" (serial number 0001)';
const low = 'A wrong PIN was given to the token "toy" before; after some more it locks itself';

async function logIn(module: SoftwareToken, holder: PinHolder): Promise<Token> {
  const token = new Token(module, chooseToken(module, undefined));
  await token.logIn(holder);
  return token;
}

async function makeKey(module: SoftwareToken): Promise<TokenKey> {
  return (await logIn(module, new ScriptedHolder(['1234']))).generateKey(id, 'age');
}

describe('a token', () => {
  test('is chosen by label, by serial number, or because there is no other', () => {
    const module = new SoftwareToken();
    for (const name of ['toy', '0001', undefined]) assert.equal(chooseToken(module, name).label, 'toy');
    assert.throws(() => chooseToken(module, 'other'), { code: 'bad-key', message: /only "toy"/ });
    module.isPresent = false;
    assert.throws(() => chooseToken(module, 'toy'), { code: 'bad-key', message: /no token is there/ });
    const two = Object.assign(new SoftwareToken(), {
      tokens: () => [new SoftwareToken().tokenInfo(), new SoftwareToken().tokenInfo()],
    });
    assert.throws(() => chooseToken(two, undefined), { code: 'bad-key', message: /which token/ });
  });

  test('asks for its PIN once, and again if it was mistyped', async () => {
    const module = new SoftwareToken();
    const holder = new ScriptedHolder(['1111', '1234']);
    const token = await logIn(module, holder);
    await token.logIn(holder);
    assert.deepEqual(holder.said, [prompt, `Wrong PIN. ${prompt}`]);
    assert.equal(module.triesLeft, 3);
  });

  test('keeps its last try for somebody who agrees to it', async () => {
    const module = new SoftwareToken();
    const timid = new ScriptedHolder(['1111', '2222', '3333']);
    await assert.rejects(logIn(module, timid), { code: 'bad-key', message: /one try left/ });
    const warning = 'The next wrong PIN locks the token "toy"';
    assert.deepEqual(timid.said, [prompt, `Wrong PIN. ${prompt}`, warning]);
    assert.equal(module.triesLeft, 1);
    const bold = new ScriptedHolder(['1234'], true);
    await logIn(module, bold);
    assert.deepEqual(bold.said, [warning, prompt]);
    assert.equal(module.triesLeft, 3);
  });

  test('says that it is locked, and is not tried any more', async () => {
    const module = new SoftwareToken();
    module.triesLeft = 1;
    const wrong = new ScriptedHolder(['1111', '2222'], true);
    await assert.rejects(logIn(module, wrong), {
      code: 'bad-key',
      message: /its PIN is locked/,
      hint: /PUK/,
    });
    await assert.rejects(logIn(module, new ScriptedHolder(['1234'])), { message: /its PIN is locked/ });
    assert.equal(module.logins, 1);
  });

  test('tells of earlier mistakes; without an answer nothing is tried', async () => {
    const module = new SoftwareToken();
    module.triesLeft = 2;
    const nobody = new ScriptedHolder([]);
    await assert.rejects(logIn(module, nobody), { code: 'bad-key', message: /nobody gave it/ });
    assert.deepEqual([nobody.said, module.logins], [[low, prompt], 0]);
  });

  test('without a PIN, or pulled out, gives errors that say so', async () => {
    const module = new SoftwareToken();
    module.hasPin = false;
    await assert.rejects(logIn(module, new ScriptedHolder(['1'])), { message: /no user PIN/ });
    module.hasPin = true;
    const token = await logIn(module, new ScriptedHolder(['1234']));
    module.isPresent = false;
    for (const work of [() => token.keys(), () => token.deriveEcdh(id, id), () => token.generateKey(id, 'x')])
      assert.throws(work, { code: 'bad-key', message: /the token was removed/ });
    token.close();
  });

  test('makes keys and shows them', async () => {
    const module = new SoftwareToken();
    const key = await makeKey(module);
    assert.equal(key.compressedPoint.length, 33);
    const [found] = (await logIn(module, new ScriptedHolder(['1234']))).keys();
    assert.deepEqual(found?.point, key.point);
  });

  test('that makes keys which can leave it, or computes wrongly, is refused and keeps none', async () => {
    for (const override of [
      [[attribute.extractable, true]],
      [[attribute.sensitive, false]],
      [[attribute.value, id]],
    ] as const) {
      const module = new SoftwareToken();
      module.override = override;
      await assert.rejects(makeKey(module), { code: 'bad-key', message: /could leave it/ });
      assert.equal(module.keyCount, 0);
    }
    const broken = new SoftwareToken();
    broken.isBroken = true;
    await assert.rejects(makeKey(broken), { message: /wrong results/ });
    assert.equal(broken.keyCount, 0);
  });
});

describe('the plugin', () => {
  const module = '/usr/lib/os-release';
  const client = (pins: string[], said: string[] = []): PluginClient => ({
    async message(text) {
      said.push(text);
    },
    async confirm(text) {
      said.push(text);
      return false;
    },
    async requestSecret(text) {
      said.push(text);
      return pins.shift();
    },
  });
  const identityFor = (key: TokenKey): string =>
    encodeTokenKeyReference({
      publicKey: key.compressedPoint,
      id: key.id,
      serial: '0001',
      label: 'toy',
      module,
    });
  const plugin = (token: SoftwareToken, pin?: () => Promise<string>): Pkcs11Plugin =>
    new Pkcs11Plugin({ load: () => token, module: undefined, pin });

  test('opens what is encrypted to the key, with one login for many files', async () => {
    const token = new SoftwareToken();
    const key = await makeKey(token);
    token.close();
    const said: string[] = [];
    const identity = plugin(token).identity(identityFor(key), client(['1234'], said));
    for (let file = 0; file < 3; file++) {
      const { header, fileKey } = await createEnvelope([
        generateIdentity().recipient,
        new TagRecipient(key.compressedPoint),
      ]);
      assert.deepEqual(await openEnvelope(parseHeader(header), [identity]), Buffer.from(fileKey));
    }
    assert.deepEqual(said, [prompt]);
  });

  test('does not hand the token a point of another curve', async () => {
    const token = new SoftwareToken();
    const key = await makeKey(token);
    token.isPresent = false;
    const point = Buffer.concat([Buffer.of(4), Buffer.alloc(64, 1)]);
    const hash = createHash('sha256').update(key.compressedPoint).digest().subarray(0, 4);
    const tag = hkdfExtract(utf8Bytes('age-encryption.org/p256tag'), Buffer.concat([point, hash])).subarray(
      0,
      4,
    );
    const stanza = { type: 'p256tag', args: [tag, point].map(encodeBase64), body: new Uint8Array(32) };
    const identity = plugin(token).identity(identityFor(key), client([]));
    await assert.rejects(async () => await identity.unwrapFileKey([stanza]), {
      code: 'age-header',
      message: /not a point of the curve/,
    });
  });

  test('does not open the token for what is not meant for it', async () => {
    const token = new SoftwareToken();
    const key = await makeKey(token);
    token.isPresent = false;
    const identity = plugin(token).identity(identityFor(key), client([]));
    const other = await createEnvelope([
      new TagRecipient((await makeKey(new SoftwareToken())).compressedPoint),
    ]);
    assert.equal(await openEnvelope(parseHeader(other.header), [identity]), undefined);
  });

  test('asks for a token that is missing', async () => {
    const token = new SoftwareToken();
    const key = await makeKey(token);
    token.isPresent = false;
    const { header } = await createEnvelope([new TagRecipient(key.compressedPoint)]);
    const said: string[] = [];
    const identity = plugin(token).identity(identityFor(key), client([], said));
    await assert.rejects(openEnvelope(parseHeader(header), [identity]), { message: /not plugged in/ });
    assert.deepEqual(said, ['Plug in the token "toy" (serial number 0001)']);
  });

  test('tries a PIN that nobody types only once', async () => {
    const token = new SoftwareToken();
    const key = await makeKey(token);
    const { header } = await createEnvelope([new TagRecipient(key.compressedPoint)]);
    let given = 0;
    const pin = async (): Promise<string> => (given++, '0000');
    const identity = plugin(token, pin).identity(identityFor(key), client(['1234']));
    await assert.rejects(openEnvelope(parseHeader(header), [identity]), { message: /the PIN is wrong/ });
    assert.deepEqual([given, token.triesLeft], [1, 2]);
  });

  test('follows an identity into the system folders for libraries only', () => {
    const folder = mkdtempSync(join(tmpdir(), 'salvage-module-'));
    try {
      const evil = join(folder, 'evil.so');
      writeFileSync(evil, '');
      symlinkSync('/usr/lib/os-release', join(folder, 'link'));
      assert.throws(() => modulePath(evil, undefined), { code: 'bad-key', message: /not in a folder/ });
      assert.throws(() => modulePath(`/usr/lib/../..${evil}`, ''), { message: /not in a folder/ });
      assert.throws(() => modulePath('evil.so', undefined), { message: /not absolute/ });
      assert.throws(() => modulePath('/usr/lib/none.so', undefined), { message: /not there/ });
      assert.equal(modulePath('/usr/lib/none.so', evil), evil);
      assert.equal(modulePath(join(folder, 'link'), undefined), '/usr/lib/os-release');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('an identity', () => {
  const text = fc.string({ maxLength: 40, unit: 'binary' }).filter((value) => !value.includes('\0'));
  const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
    fc.uint8Array({ minLength: length, maxLength: length });

  test('says which key is meant, and comes back as it was', () => {
    fc.assert(
      fc.property(
        fc.record({
          publicKey: bytes(33),
          id: fc.uint8Array({ maxLength: 255 }),
          serial: text,
          label: text,
          module: text,
        }),
        (reference) => {
          const decoded = decodeTokenKeyReference(encodeTokenKeyReference(reference));
          assert.deepEqual(
            { ...decoded, publicKey: [...decoded.publicKey], id: [...decoded.id] },
            { ...reference, publicKey: [...reference.publicKey], id: [...reference.id] },
          );
        },
      ),
    );
  });

  test('that is cut short, goes on or is no point is refused', () => {
    const whole = Buffer.concat([
      Buffer.of(1, 2),
      Buffer.alloc(32, 0xff),
      Buffer.of(1, 7, 1, 65, 1, 66, 1, 67),
    ]);
    assert.equal(decodeTokenKeyReference(encodePluginIdentity('pkcs11', whole)).module, 'C');
    for (let length = 0; length < whole.length; length++)
      assert.throws(
        () => decodeTokenKeyReference(encodePluginIdentity('pkcs11', whole.subarray(0, length))),
        {
          code: 'bad-key',
        },
      );
    for (const data of [
      Buffer.concat([whole, Buffer.of(0)]),
      Buffer.concat([Buffer.of(2), whole.subarray(1)]),
    ])
      assert.throws(() => decodeTokenKeyReference(encodePluginIdentity('pkcs11', data)), { code: 'bad-key' });
    const options = { load: () => new SoftwareToken(), module: undefined, pin: undefined };
    const client = {} as PluginClient;
    assert.throws(() => new Pkcs11Plugin(options).identity(encodePluginIdentity('pkcs11', whole), client), {
      code: 'bad-key',
    });
  });
});
