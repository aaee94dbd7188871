import { createPrivateKey, type KeyObject } from 'node:crypto';
import { wrongPassphrase, type PrivateKeyFailure, type PrivateKeyFile } from './private-key-file.ts';
import { publicKeyFromObject } from './public-key.ts';

/** Some seconds of PBKDF2; OpenSSH writes 2048. */
const maxKdfParameter = 10_000_000n;

/**
 * A private key in PKCS#1, SEC 1 or PKCS#8 PEM, which OpenSSL reads for us. An encrypted one hides its public key, and
 * the iteration count of its key derivation is bounded before it runs.
 */
export function parsePemPrivateKey(
  pem: string,
  label: string,
  body: string,
  fail: PrivateKeyFailure,
): PrivateKeyFile {
  if (!/^(RSA |EC |ENCRYPTED )?PRIVATE KEY$/.test(label))
    throw fail(`files of type "${label}" are not supported`, 'Make a key with "ssh-keygen -t ed25519".');
  const encrypted = label === 'ENCRYPTED PRIVATE KEY' || /^Proc-Type: 4,ENCRYPTED\r?$/m.test(body);
  if (!encrypted) {
    const key = importPem(pem, undefined, () => fail('its content is damaged'));
    const publicKey = publicKeyFromObject(key);
    return { publicKey, encrypted: false, unlock: () => Promise.resolve({ publicKey, key, comment: '' }) };
  }
  if (label === 'ENCRYPTED PRIVATE KEY') {
    const der = Buffer.from(body.replace(/\s+/g, ''), 'base64');
    const largest = largestKdfParameter(der);
    if (largest === undefined) throw fail('its content is damaged');
    if (largest > maxKdfParameter)
      throw fail(`its key derivation asks for ${largest} iterations, ${maxKdfParameter} are allowed`);
  }
  return {
    publicKey: undefined,
    encrypted: true,
    unlock: async (passphrase = '') => {
      if (passphrase === '') throw wrongPassphrase(fail, 'it is encrypted and no passphrase is given');
      const key = importPem(pem, passphrase, () => wrongPassphrase(fail, 'the passphrase is wrong'));
      return { publicKey: publicKeyFromObject(key), key, comment: '' };
    },
  };
}

function importPem(pem: string, passphrase: string | undefined, failure: () => Error): KeyObject {
  try {
    return createPrivateKey({ key: pem, format: 'pem', ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    // What OpenSSL says differs from version to version and does not tell a wrong passphrase from damage.
    throw failure();
  }
}

/**
 * The largest INTEGER in the encryptionAlgorithm of an EncryptedPrivateKeyInfo (RFC 5208 section 6): whichever scheme
 * it is, its costs are among them. undefined if the DER is malformed.
 */
function largestKdfParameter(der: Uint8Array): bigint | undefined {
  const outer = readDer(der, 0);
  const algorithm = outer?.tag === sequenceTag ? readDer(outer.content, 0) : undefined;
  return algorithm?.tag === sequenceTag ? largestInteger(algorithm.content, 0) : undefined;
}

const sequenceTag = 0x30;
const integerTag = 0x02;
const maxDepth = 8;

function largestInteger(der: Uint8Array, depth: number): bigint | undefined {
  let largest = 0n;
  for (let at = 0; at < der.length;) {
    const item = readDer(der, at);
    if (!item || depth > maxDepth) return undefined;
    let value: bigint | undefined = 0n;
    if (item.tag === sequenceTag) value = largestInteger(item.content, depth + 1);
    else if (item.tag === integerTag) value = BigInt(`0x0${Buffer.from(item.content).toString('hex')}`);
    if (value === undefined) return undefined;
    if (value > largest) largest = value;
    at = item.end;
  }
  return largest;
}

function readDer(der: Uint8Array, at: number): { tag: number; content: Uint8Array; end: number } | undefined {
  const tag = der[at];
  const first = der[at + 1];
  if (tag === undefined || first === undefined) return undefined;
  let length = first;
  let start = at + 2;
  if (first >= 0x80) {
    const lengthBytes = first & 0x7f;
    if (lengthBytes < 1 || lengthBytes > 3) return undefined;
    length = 0;
    for (let index = 0; index < lengthBytes; index++) length = length * 256 + (der[start++] ?? 0);
  }
  if (start + length > der.length) return undefined;
  return { tag, content: der.subarray(start, start + length), end: start + length };
}
