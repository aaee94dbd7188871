// The binary key revocation lists of OpenSSH: openssh-portable PROTOCOL.krl. Whatever is not understood makes the whole list
// unreadable, rather than that a key that it revokes be accepted.
import { equalBytes } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { parsePublicKeyBlob } from './public-key.ts';
import { verifySignature } from './signature.ts';
import { WireReader } from './wire-reader.ts';

const magic = Buffer.from('SSHKRL\n\0');
const formatVersion = 1;

const section = {
  certificates: 1,
  explicitKey: 2,
  sha1: 3,
  signature: 4,
  sha256: 5,
  extension: 255,
} as const;
const certificateSection = {
  serialList: 0x20,
  serialRange: 0x21,
  serialBitmap: 0x22,
  keyId: 0x23,
  extension: 0x39,
} as const;

export function isKeyRevocationList(bytes: Uint8Array): boolean {
  return equalBytes(bytes.subarray(0, magic.length), magic);
}

/**
 * Reads a list that `isKeyRevocationList`: the keys that it revokes, each as its wire encoding, or the SHA-1 or SHA-256
 * of that; they differ in length. What it says of certificates is passed over, for no certificate is accepted
 * anyway. Signatures in it must be right; who made them does not matter: the list is trusted for the place it is in.
 * @throws bad-key if it is malformed, or has anything that is not known and must be
 */
export function parseKeyRevocationList(bytes: Uint8Array): Uint8Array[] {
  const reader = new WireReader(bytes, malformed);
  const revoked: Uint8Array[] = [];
  reader.bytes(magic.length);
  const version = reader.uint32();
  if (version !== formatVersion) throw malformed(`its format has the version ${version}`);
  // The list's own version and its date.
  reader.bytes(8 + 8);
  if (reader.bytes(8).some((byte) => byte !== 0)) throw malformed('it has flags that are not known');
  // Reserved, and a comment.
  reader.string();
  reader.string();
  let isSigned = false;
  while (reader.remaining > 0) {
    const type = reader.byte();
    const data = reader.string();
    if (isSigned && type !== section.signature) throw malformed('something follows its signature');
    switch (type) {
      case section.certificates:
        checkCertificates(data);
        break;
      case section.explicitKey:
        for (const blob of strings(data)) revoked.push(parsePublicKeyBlob(blob).blob);
        break;
      case section.sha1:
        for (const digest of strings(data)) revoked.push(checkedDigest(digest, 20));
        break;
      case section.sha256:
        for (const digest of strings(data)) revoked.push(checkedDigest(digest, 32));
        break;
      case section.extension:
        checkExtension(data);
        break;
      case section.signature: {
        isSigned = true;
        const signed = bytes.subarray(0, bytes.length - reader.remaining);
        checkSignature(data, reader.string(), signed);
        break;
      }
      default:
        throw malformed(`it has a section of the kind ${type}, which is not known`);
    }
  }
  return revoked;
}

function checkCertificates(data: Uint8Array): void {
  const reader = new WireReader(data, malformed);
  // The key of the authority, and a reserved field.
  reader.string();
  reader.string();
  while (reader.remaining > 0) {
    const type = reader.byte();
    const content = reader.string();
    switch (type) {
      case certificateSection.serialList:
      case certificateSection.serialRange:
      case certificateSection.serialBitmap:
      case certificateSection.keyId:
        break;
      case certificateSection.extension:
        checkExtension(content);
        break;
      default:
        throw malformed(`it says of certificates what is not known, kind ${type}`);
    }
  }
}

/** An extension that is not known may be passed over unless it says otherwise. None is known. */
function checkExtension(data: Uint8Array): void {
  const reader = new WireReader(data, malformed);
  const name = reader.text();
  const isCritical = reader.byte() !== 0;
  reader.string();
  reader.end();
  if (isCritical) throw malformed(`it has the extension ${JSON.stringify(name)}, which is not known`);
}

function checkSignature(key: Uint8Array, signature: Uint8Array, signed: Uint8Array): void {
  let isRight: boolean;
  try {
    isRight = verifySignature(parsePublicKeyBlob(key), signature, signed);
  } catch (error) {
    if (!(error instanceof SalvageError)) throw error;
    throw malformed('its signature cannot be checked', error);
  }
  if (!isRight) throw malformed('its signature is wrong');
}

function* strings(data: Uint8Array): Generator<Uint8Array> {
  const reader = new WireReader(data, malformed);
  while (reader.remaining > 0) yield reader.string();
}

function checkedDigest(digest: Uint8Array, length: number): Uint8Array {
  if (digest.length !== length) throw malformed(`it has a digest of ${digest.length} bytes`);
  return digest;
}

function malformed(state: string, cause?: unknown): SalvageError {
  return new SalvageError('bad-key', `Cannot read the key revocation list: ${state}`, { cause });
}
