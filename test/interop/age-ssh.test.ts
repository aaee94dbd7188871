// age files for SSH keys: ours opened by age, those of age opened by us.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { decryptStream } from '../../src/age/decrypt-stream.ts';
import { encryptStream } from '../../src/age/encrypt-stream.ts';
import { generateFileKey } from '../../src/age/file-key.ts';
import type { Identity, Recipient, RequestPassphrase } from '../../src/age/recipient.ts';
import { parseSshIdentity } from '../../src/age/ssh-identity.ts';
import { parseSshRecipient } from '../../src/age/ssh-recipient.ts';
import type { Stanza } from '../../src/age/stanza.ts';
import { isWrongPassphrase } from '../../src/ssh/private-key-file.ts';
import { age11, age13, needsPeers } from '../support/peers.ts';

const passphrase = 'a passphrase';
const plaintext = Buffer.from('attack at dawn\n');
const never: RequestPassphrase = () => assert.fail('the passphrase was asked for');

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function encryptBytes(bytes: Uint8Array, recipients: Recipient[]): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(encryptStream(pieces(bytes), recipients)));
}

async function decryptBytes(bytes: Uint8Array, identities: Identity[]): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(decryptStream(pieces(bytes), identities)));
}

describe('SSH keys in age files', needsPeers, () => {
  let folder: string;
  const keyPath = (name: string): string => join(folder, name);
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'salvage-age-ssh-'));
    const make = (name: string, ...args: string[]): void => {
      execFileSync('ssh-keygen', ['-q', '-f', keyPath(name), ...args]);
    };
    make('ed25519', '-t', 'ed25519', '-N', '');
    make('rsa', '-t', 'rsa', '-b', '2048', '-N', '');
    make('ed25519-locked', '-t', 'ed25519', '-a', '16', '-N', passphrase);
    make('rsa-locked', '-t', 'rsa', '-b', '2048', '-a', '16', '-N', passphrase);
    make('rsa-pem-locked', '-t', 'rsa', '-b', '2048', '-m', 'PEM', '-N', passphrase);
    make('rsa-weak', '-t', 'rsa', '-b', '1024', '-N', '');
    make('ecdsa', '-t', 'ecdsa', '-N', '');
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const publicLine = (name: string): string => readFileSync(`${keyPath(name)}.pub`, 'utf8');
  const recipient = (name: string): Recipient => parseSshRecipient(publicLine(name))!;
  const identity = (name: string, requestPassphrase = never): ReturnType<typeof parseSshIdentity> =>
    parseSshIdentity(readFileSync(keyPath(name)), {
      name,
      requestPassphrase,
      publicKeyFile: () => readFileSync(`${keyPath(name)}.pub`),
    });

  for (const name of ['ed25519', 'rsa'])
    for (const age of [age11, age13])
      test(`${name}: ours opens in ${age === age11 ? 'age 1.1' : 'age 1.3'}`, async () => {
        const path = join(folder, `${name}.age`);
        writeFileSync(path, await encryptBytes(plaintext, [recipient(name)]));
        assert.deepEqual(execFileSync(age, ['-d', '-i', keyPath(name), path]), plaintext);
      });

  for (const name of ['ed25519', 'rsa', 'ed25519-locked', 'rsa-locked', 'rsa-pem-locked'])
    test(`${name}: age's opens here, the passphrase asked once`, async () => {
      const encrypted = execFileSync(age13, ['-R', `${keyPath(name)}.pub`], { input: plaintext });
      let asked = 0;
      const opened = identity(name, () => Promise.resolve((asked++, passphrase)));
      assert.deepEqual(await decryptBytes(encrypted, [opened]), plaintext);
      assert.deepEqual(await decryptBytes(encrypted, [opened]), plaintext);
      assert.equal(asked, name.includes('locked') ? 1 : 0);
    });

  test('the passphrase is not asked for when no stanza is for the key', async () => {
    const { fileKey, header } = await stanzasFor(recipient('ed25519'), recipient('rsa'));
    assert.equal(await identity('ed25519-locked').unwrapFileKey(header), undefined);
    assert.equal(await identity('rsa-locked').unwrapFileKey(header), undefined);
    assert.deepEqual(await identity('rsa').unwrapFileKey(header), Buffer.from(fileKey));
  });

  test('a wrong passphrase is an error after which another may be tried', async () => {
    const { fileKey, header } = await stanzasFor(recipient('ed25519-locked'));
    const answers = ['wrong', passphrase];
    const locked = identity('ed25519-locked', () => Promise.resolve(answers.shift()!));
    await assert.rejects(async () => locked.unwrapFileKey(header), isWrongPassphrase);
    assert.deepEqual(await locked.unwrapFileKey(header), Buffer.from(fileKey));
  });

  test('a stanza of another key with the same tag does not stop the search', async () => {
    for (const name of ['ed25519', 'rsa']) {
      const { fileKey, header } = await stanzasFor(recipient(name));
      const [own] = header as [Stanza];
      const body = Uint8Array.from(own.body);
      body[0]! ^= 1;
      const opened = identity(name);
      assert.equal(await opened.unwrapFileKey([{ ...own, body }]), undefined);
      assert.deepEqual(await opened.unwrapFileKey([{ ...own, body }, own]), Buffer.from(fileKey));
    }
  });

  test('malformed stanzas are errors', async () => {
    const [ed25519] = (await stanzasFor(recipient('ed25519'))).header as [Stanza];
    const [rsa] = (await stanzasFor(recipient('rsa'))).header as [Stanza];
    const shortShare = { ...ed25519, args: [ed25519.args[0]!, 'AAAA'] };
    const zeroShare = { ...ed25519, args: [ed25519.args[0]!, 'A'.repeat(43)] };
    const shortBody = { ...ed25519, body: ed25519.body.subarray(1) };
    for (const stanza of [shortShare, zeroShare, shortBody, { ...ed25519, args: [ed25519.args[0]!] }])
      await assert.rejects(async () => identity('ed25519').unwrapFileKey([stanza]), { code: 'age-header' });
    const extra = { ...rsa, args: [...rsa.args, 'x'] };
    await assert.rejects(async () => identity('rsa').unwrapFileKey([extra]), { code: 'age-header' });
  });

  test('keys that cannot be used', () => {
    assert.equal(parseSshRecipient(publicLine('ecdsa')), undefined);
    assert.throws(() => recipient('rsa-weak'), { code: 'bad-key', message: /1024 bits/ });
    assert.throws(() => identity('ecdsa'), { code: 'bad-key', message: /ecdsa-sha2-nistp256/ });
    assert.throws(
      () =>
        parseSshIdentity(readFileSync(keyPath('rsa-pem-locked')), { name: 'k', requestPassphrase: never }),
      { code: 'bad-key', message: /no "k.pub"/ },
    );
    // Neither the neutral point (y = 1) nor a y without a point on the curve (y = 2) is a key.
    for (const y of [1, 2]) {
      const blob = Buffer.concat([
        Buffer.from('0000000b', 'hex'),
        Buffer.from('ssh-ed25519'),
        Buffer.from([0, 0, 0, 32, y]),
        Buffer.alloc(31),
      ]);
      assert.throws(() => parseSshRecipient(`ssh-ed25519 ${blob.toString('base64')}`), { code: 'bad-key' });
    }
  });

  test('a pair of a private key and the .pub of another is noticed', async () => {
    const { header } = await stanzasFor(recipient('rsa'));
    const mixed = parseSshIdentity(readFileSync(keyPath('rsa-pem-locked')), {
      name: 'k',
      requestPassphrase: () => Promise.resolve(passphrase),
      publicKeyFile: () => readFileSync(`${keyPath('rsa')}.pub`),
    });
    await assert.rejects(async () => mixed.unwrapFileKey(header), {
      code: 'bad-key',
      message: /of another key/,
    });
  });

  async function stanzasFor(
    ...recipients: Recipient[]
  ): Promise<{ fileKey: Uint8Array; header: readonly Stanza[] }> {
    const fileKey = generateFileKey();
    const wrapped = await Promise.all(recipients.map(async (one) => one.wrapFileKey(fileKey)));
    return { fileKey, header: wrapped.flatMap(({ stanzas }) => stanzas) };
  }
});
