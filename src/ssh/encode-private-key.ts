import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { asBuffer, concatBytes, utf8Bytes } from '../bytes/bytes.ts';
import { randomBytes } from '../clock/random.ts';
import { bcryptPbkdf } from './bcrypt-pbkdf.ts';
import { opensshKeyMagic } from './openssh-private-key.ts';
import { encryptAes256Ctr } from './private-key-cipher.ts';
import type { PrivateKey } from './private-key-file.ts';
import { publicKeyFromObject } from './public-key.ts';
import { encodeString, encodeUint32 } from './wire-writer.ts';

/** A new Ed25519 key. */
export function generateEd25519Key(comment: string): PrivateKey {
  const { privateKey: key, publicKey } = generateKeyPairSync('ed25519');
  return { key, publicKey: publicKeyFromObject(publicKey), comment };
}

/** OpenSSH's defaults: aes256-ctr, a salt of 16 bytes. */
const saltBytes = 16;
const keyBytes = 32;
const ivBytes = 16;
const lineLength = 70;

/**
 * An Ed25519 key as an OpenSSH private key file (openssh-portable, PROTOCOL.key), byte for byte as ssh-keygen would
 * write it; encrypted with aes256-ctr if a passphrase is given.
 */
export async function encodeEd25519PrivateKey(
  privateKey: PrivateKey,
  encryption?: { readonly passphrase: string; readonly rounds: number },
): Promise<string> {
  const seed = ed25519Seed(privateKey.key);
  if (privateKey.publicKey.kind !== 'ed25519') throw new TypeError('not an Ed25519 key');
  const { point, blob, type } = privateKey.publicKey;
  const check = randomBytes(4);
  const fields = [
    check,
    check,
    encodeString(type),
    encodeString(point),
    encodeString(concatBytes([seed, point])),
  ];
  const unpadded = concatBytes([...fields, encodeString(privateKey.comment)]);
  const blockBytes = encryption ? 16 : 8;
  const padding = Uint8Array.from({ length: -unpadded.length & (blockBytes - 1) }, (_, index) => index + 1);
  let content: Uint8Array = concatBytes([unpadded, padding]);
  let head = [encodeString('none'), encodeString('none'), encodeString('')];
  if (encryption) {
    const salt = randomBytes(saltBytes);
    const { passphrase, rounds } = encryption;
    const derived = await bcryptPbkdf(utf8Bytes(passphrase), salt, rounds, keyBytes + ivBytes);
    content = encryptAes256Ctr(derived.subarray(0, keyBytes), derived.subarray(keyBytes), content);
    const kdfOptions = concatBytes([encodeString(salt), encodeUint32(rounds)]);
    head = [encodeString('aes256-ctr'), encodeString('bcrypt'), encodeString(kdfOptions)];
  }
  const binary = concatBytes([
    utf8Bytes(opensshKeyMagic),
    ...head,
    encodeUint32(1),
    encodeString(blob),
    encodeString(content),
  ]);
  const lines = asBuffer(binary)
    .toString('base64')
    .match(new RegExp(`.{1,${lineLength}}`, 'g'))!;
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join('\n')}\n-----END OPENSSH PRIVATE KEY-----\n`;
}

/** The 32 secret bytes of an Ed25519 key (RFC 8032 section 5.1.5). */
export function ed25519Seed(key: KeyObject): Uint8Array {
  const { d } = key.export({ format: 'jwk' });
  return Buffer.from(d!, 'base64url');
}
