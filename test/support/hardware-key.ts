// A hardware key in software: what a FIDO authenticator signs, and how OpenSSH writes it down (PROTOCOL.u2f).
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { concatBytes } from '../../src/bytes/bytes.ts';
import { parsePublicKeyBlob, publicKeyFromObject, type PublicKey } from '../../src/ssh/public-key.ts';
import { encodePositiveInteger, encodeString } from '../../src/ssh/wire-writer.ts';

export interface HardwareKey {
  readonly publicKey: PublicKey;
  /** The signature in SSH's encoding. */
  sign(data: Uint8Array): Uint8Array;
}

const application = 'ssh:';
/** User present; counter 7. */
const flagsAndCounter = Buffer.from('0100000007', 'hex');

export function makeHardwareKey(kind: 'ed25519' | 'ecdsa'): HardwareKey {
  const pair =
    kind === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const plain = publicKeyFromObject(pair.publicKey);
  if (plain.kind !== 'ed25519' && plain.kind !== 'ecdsa') throw new Error('another kind was made');
  const type = kind === 'ed25519' ? 'sk-ssh-ed25519@openssh.com' : 'sk-ecdsa-sha2-nistp256@openssh.com';
  const fields = kind === 'ed25519' ? [type, plain.point] : [type, 'nistp256', plain.point];
  const blob = concatBytes([...fields, application].map((field) => encodeString(field)));
  return {
    publicKey: parsePublicKeyBlob(blob),
    sign(data) {
      const signed = concatBytes([sha256(Buffer.from(application)), flagsAndCounter, sha256(data)]);
      const hash = kind === 'ed25519' ? null : 'sha256';
      const raw = sign(hash, signed, { key: pair.privateKey, dsaEncoding: 'ieee-p1363' });
      const numbers = [raw.subarray(0, 32), raw.subarray(32)].map((half) => encodePositiveInteger(half));
      const signature = kind === 'ed25519' ? raw : concatBytes(numbers);
      return concatBytes([encodeString(type), encodeString(signature), flagsAndCounter]);
    },
  };
}

function sha256(data: Uint8Array): Uint8Array {
  return createHash('sha256').update(data).digest();
}
