import { createPrivateKey, type JsonWebKeyInput, type KeyObject } from 'node:crypto';
import { asBuffer, equalBytes, utf8Bytes } from '../bytes/bytes.ts';
import { bcryptPbkdf } from './bcrypt-pbkdf.ts';
import { findPrivateKeyCipher } from './private-key-cipher.ts';
import {
  wrongPassphrase,
  type PrivateKey,
  type PrivateKeyFailure,
  type PrivateKeyFile,
} from './private-key-file.ts';
import { parsePublicKeyBlob, publicKeyFromObject, type PublicKey } from './public-key.ts';
import { WireReader } from './wire-reader.ts';

export const opensshKeyMagic = 'openssh-key-v1\0';

/** The binary content of an "OPENSSH PRIVATE KEY" (openssh-portable, PROTOCOL.key). */
export function parseOpensshPrivateKey(blob: Uint8Array, fail: PrivateKeyFailure): PrivateKeyFile {
  const reader = new WireReader(blob, fail);
  if (!equalBytes(reader.bytes(opensshKeyMagic.length), utf8Bytes(opensshKeyMagic)))
    throw fail('it is not in the format openssh-key-v1');
  const cipherName = reader.text(64);
  const kdfName = reader.text(64);
  const kdfOptions = reader.string(1024);
  const keyCount = reader.uint32();
  if (keyCount !== 1) throw fail(`it holds ${keyCount} keys instead of one`);
  const publicKey = parsePublicKeyBlob(reader.string());
  const content = reader.string();

  if (cipherName === 'none') {
    if (kdfName !== 'none') throw fail('it names a key derivation but no cipher');
    reader.end();
    const privateKey = parsePrivatePart(content, 8, publicKey, fail, () => fail('it is damaged'));
    return { publicKey, encrypted: false, unlock: async () => privateKey() };
  }

  const cipher = findPrivateKeyCipher(cipherName);
  if (!cipher) throw fail('it is encrypted with a cipher that OpenSSH does not have');
  if (kdfName !== 'bcrypt') throw fail('its key derivation is not bcrypt');
  const kdf = new WireReader(kdfOptions, fail);
  const salt = kdf.string();
  const rounds = kdf.uint32();
  kdf.end();
  if (salt.length === 0) throw fail('its key derivation has no salt');
  if (content.length < cipher.blockBytes || content.length % cipher.blockBytes !== 0)
    throw fail('its encrypted part is not a whole number of blocks');
  const tag = reader.bytes(cipher.tagBytes);
  reader.end();

  return {
    publicKey,
    encrypted: true,
    bcryptRounds: rounds,
    async unlock(passphrase = '', signal) {
      if (passphrase === '') throw wrongPassphrase(fail, 'it is encrypted and no passphrase is given');
      const { keyBytes, ivBytes } = cipher;
      const derived = await bcryptPbkdf(utf8Bytes(passphrase), salt, rounds, keyBytes + ivBytes, signal);
      const plain = cipher.decrypt(derived.subarray(0, keyBytes), derived.subarray(keyBytes), content, tag);
      const wrong = (): Error => wrongPassphrase(fail, 'the passphrase is wrong');
      if (!plain) throw wrong();
      return parsePrivatePart(plain, cipher.blockBytes, publicKey, fail, wrong)();
    },
  };
}

/**
 * Reads the decrypted part. What it holds may be of a type that cannot be used, so the key itself is made by the
 * function that is returned. `undecipherable` makes the error for check integers that differ.
 */
function parsePrivatePart(
  content: Uint8Array,
  blockBytes: number,
  publicKey: PublicKey,
  fail: PrivateKeyFailure,
  undecipherable: () => Error,
): () => PrivateKey {
  const reader = new WireReader(content, fail);
  if (reader.uint32() !== reader.uint32()) throw undecipherable();
  return () => {
    if (reader.text(128) !== publicKey.type)
      throw fail('its private and its public half are of different types');
    const key = readKey(reader, publicKey, fail);
    const comment = reader.text();
    const padding = reader.bytes(reader.remaining);
    if (padding.length >= blockBytes || padding.some((byte, index) => byte !== index + 1))
      throw fail('its padding is damaged');
    if (!equalBytes(publicKeyFromObject(key).blob, publicKey.blob))
      throw fail('its private and its public half do not belong together');
    return { publicKey, key, comment };
  };
}

function readKey(reader: WireReader, publicKey: PublicKey, fail: PrivateKeyFailure): KeyObject {
  switch (publicKey.kind) {
    case 'ed25519': {
      const point = reader.string(32);
      const seedAndPoint = reader.string(64);
      if (seedAndPoint.length !== 64) throw fail('its Ed25519 key does not have 64 bytes');
      const d = base64url(seedAndPoint.subarray(0, 32));
      return importKey({ kty: 'OKP', crv: 'Ed25519', d, x: base64url(point) }, fail);
    }
    case 'rsa':
      return readRsaKey(reader, fail);
    case 'ecdsa': {
      reader.string(16);
      const point = reader.string(256);
      const d = reader.positiveInteger();
      const size = (publicKey.point.length - 1) / 2;
      if (!equalBytes(point, publicKey.point) || d.length > size) throw fail('its numbers are not valid');
      const padded = Buffer.concat([Buffer.alloc(size - d.length), d]);
      const curve = { nistp256: 'P-256', nistp384: 'P-384', nistp521: 'P-521' }[publicKey.curve];
      const x = base64url(point.subarray(1, 1 + size));
      const y = base64url(point.subarray(1 + size));
      return importKey({ kty: 'EC', crv: curve, x, y, d: base64url(padded) }, fail);
    }
    case 'sk-ed25519':
    case 'sk-ecdsa':
      throw fail(
        'it is a stub whose secret is in a hardware key',
        'Add it to ssh-agent with "ssh-add" and name the .pub file instead.',
      );
    default:
      throw fail(`keys of type ${publicKey.type} are not supported`);
  }
}

function readRsaKey(reader: WireReader, fail: PrivateKeyFailure): KeyObject {
  const [n, e, d, qi, p, q] = Array.from({ length: 6 }, () => reader.positiveInteger()) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  const [pNumber, qNumber, dNumber] = [bigint(p), bigint(q), bigint(d)];
  if (pNumber < 3n || qNumber < 3n || pNumber * qNumber !== bigint(n))
    throw fail('its numbers are not valid');
  const dp = dNumber % (pNumber - 1n);
  const dq = dNumber % (qNumber - 1n);
  return importKey(
    {
      kty: 'RSA',
      n: base64url(n),
      e: base64url(e),
      d: base64url(d),
      p: base64url(p),
      q: base64url(q),
      dp: base64url(bigEndian(dp)),
      dq: base64url(bigEndian(dq)),
      qi: base64url(qi),
    },
    fail,
  );
}

function importKey(jwk: JsonWebKeyInput['key'], fail: PrivateKeyFailure): KeyObject {
  try {
    return createPrivateKey({ format: 'jwk', key: jwk });
  } catch {
    throw fail('its numbers are not valid');
  }
}

function bigint(bigEndian: Uint8Array): bigint {
  return BigInt(`0x${asBuffer(bigEndian).toString('hex')}`);
}

function bigEndian(value: bigint): Uint8Array {
  const hex = value.toString(16);
  return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
}

function base64url(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('base64url');
}
