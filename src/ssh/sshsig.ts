import { asBuffer, concatBytes, equalBytes, utf8Bytes } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { parsePublicKeyBlob, type PublicKey } from './public-key.ts';
import { verifySignature } from './signature.ts';
import { WireReader } from './wire-reader.ts';
import { encodeString, encodeUint32 } from './wire-writer.ts';

/** The hash of the message; the names are those of node:crypto as well. */
export type SshsigHash = 'sha256' | 'sha512';

/** A detached signature as `ssh-keygen -Y sign` writes it (openssh-portable, PROTOCOL.sshsig). */
export interface Sshsig {
  readonly publicKey: PublicKey;
  readonly namespace: string;
  readonly hash: SshsigHash;
  /** In SSH's encoding: algorithm and signature. */
  readonly signature: Uint8Array;
}

/** What a signature says about the message: the digest is H(message) with the hash that is named. */
export interface SignedMessage {
  readonly namespace: string;
  readonly hash: SshsigHash;
  readonly digest: Uint8Array;
}

const magic = utf8Bytes('SSHSIG');
const knownVersion = 1;
const beginLine = '-----BEGIN SSH SIGNATURE-----';
const endLine = '-----END SSH SIGNATURE-----';
const lineLength = 70;
const digestBytes: Readonly<Record<SshsigHash, number>> = { sha256: 32, sha512: 64 };
const maxNamespaceLength = 1024;
/** Limit for an armored signature: room for a 16384-bit RSA key and what it signed. */
export const maxSshsigBytes: number = 16 * 1024;

/** The bytes that the key signs. Throws usage if the namespace is empty or too long. */
export function sshsigSignedData({ namespace, hash, digest }: SignedMessage): Uint8Array {
  const name = utf8Bytes(namespace);
  if (name.length === 0 || name.length > maxNamespaceLength)
    throw new SalvageError('usage', 'Cannot sign: the namespace is empty or too long');
  if (digest.length !== digestBytes[hash]) throw new TypeError(`not a ${hash} digest`);
  return concatBytes([magic, encodeString(name), encodeString(''), encodeString(hash), encodeString(digest)]);
}

/** The armored file for a signature over `sshsigSignedData`. */
export function formatSshsig({ publicKey, namespace, hash, signature }: Sshsig): string {
  const strings = [publicKey.blob, namespace, '', hash, signature].map((field) => encodeString(field));
  const base64 = asBuffer(concatBytes([magic, encodeUint32(knownVersion), ...strings])).toString('base64');
  const lines = base64.match(new RegExp(`.{1,${lineLength}}`, 'g'))!;
  return `${beginLine}\n${lines.join('\n')}\n${endLine}\n`;
}

/** Reads an armored signature. Throws bad-signature if it is malformed; nothing is verified yet. */
export function parseSshsig(armored: Uint8Array): Sshsig {
  if (armored.length > maxSshsigBytes) throw malformed('it is too long');
  const text = asBuffer(armored).toString('latin1');
  const match = /^-----BEGIN SSH SIGNATURE-----\r?\n([^-]*)-----END SSH SIGNATURE-----\s*$/.exec(text);
  if (!match) throw malformed(`it does not stand between "${beginLine}" and "${endLine}"`);
  const base64 = match[1]!.replace(/\s+/g, '');
  const blob = Buffer.from(base64, 'base64');
  if (blob.toString('base64') !== base64) throw malformed('its base64 is damaged');

  const reader = new WireReader(blob, malformed);
  if (!equalBytes(reader.bytes(magic.length), magic)) throw malformed('it does not begin with SSHSIG');
  const version = reader.uint32();
  if (version !== knownVersion) throw malformed(`its version is ${version}, only ${knownVersion} is known`);
  const keyBlob = reader.string();
  const namespaceBytes = reader.string(maxNamespaceLength);
  reader.string(maxNamespaceLength);
  const hash = reader.text(64);
  const signature = reader.string();
  reader.end();
  if (namespaceBytes.length === 0) throw malformed('its namespace is empty');
  if (hash !== 'sha256' && hash !== 'sha512') throw malformed('its hash is neither sha256 nor sha512');
  const namespace = asBuffer(namespaceBytes).toString('utf8');
  if (!equalBytes(utf8Bytes(namespace), namespaceBytes)) throw malformed('its namespace is not UTF-8');
  return { publicKey: parseKey(keyBlob), namespace, hash, signature };
}

function parseKey(blob: Uint8Array): PublicKey {
  try {
    return parsePublicKeyBlob(blob);
  } catch (error) {
    if (!(error instanceof SalvageError)) throw error;
    throw new SalvageError('bad-signature', 'Cannot read the SSH signature: the key in it is malformed', {
      cause: error,
    });
  }
}

/**
 * Throws bad-signature unless the key in the signature signed the digest in its namespace. Says nothing about whether
 * that key may sign: see `authorizeSigner`. `digest` is the message's, with the hash that `sshsig.hash` names.
 */
export function verifySshsig(sshsig: Sshsig, digest: Uint8Array): void {
  const { publicKey, namespace, hash, signature } = sshsig;
  if (!verifySignature(publicKey, signature, sshsigSignedData({ namespace, hash, digest })))
    throw new SalvageError('bad-signature', 'Cannot accept the signature: it does not fit the signed data');
}

function malformed(state: string): SalvageError {
  return new SalvageError('bad-signature', `Cannot read the SSH signature: ${state}`);
}
