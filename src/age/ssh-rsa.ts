import { constants, privateDecrypt, publicEncrypt, type KeyObject } from 'node:crypto';
import { SalvageError } from '../errors/salvage-error.ts';
import { fingerprint, modulusBits, publicKeyObject, type PublicKey } from '../ssh/public-key.ts';
import { minRsaBits } from '../ssh/signature.ts';
import type { Recipient, WrappedFileKey } from './recipient.ts';
import { sshKeyTag } from './ssh-key-tag.ts';
import type { Stanza } from './stanza.ts';

export type SshRsaKey = PublicKey & { kind: 'rsa' };

const oaep = {
  padding: constants.RSA_PKCS1_OAEP_PADDING,
  oaepHash: 'sha256',
  oaepLabel: Buffer.from('age-encryption.org/v1/ssh-rsa'),
};

/** An RSA SSH key as a recipient: RSA-OAEP with SHA-256 (FiloSottile/age, agessh/agessh.go). */
export class SshRsaRecipient implements Recipient {
  readonly #key: SshRsaKey;
  readonly #object: KeyObject;

  /** @throws bad-key if the key has less than 2048 bits or cannot encrypt */
  constructor(key: SshRsaKey) {
    const bits = modulusBits(key.modulus);
    if (bits < minRsaBits)
      throw new SalvageError(
        'bad-key',
        `Cannot use the ssh-rsa key ${fingerprint(key)}: it has ${bits} bits, ${minRsaBits} are needed`,
        { hint: 'Make a new key with "ssh-keygen -t ed25519".' },
      );
    this.#key = key;
    this.#object = publicKeyObject(key);
  }

  wrapFileKey(fileKey: Uint8Array): WrappedFileKey {
    let body: Uint8Array;
    try {
      body = publicEncrypt({ key: this.#object, ...oaep }, fileKey);
    } catch (cause) {
      throw new SalvageError('bad-key', `Cannot encrypt to the ssh-rsa key ${fingerprint(this.#key)}`, {
        cause,
      });
    }
    return { stanzas: [{ type: this.#key.type, args: [sshKeyTag(this.#key)], body }], labels: [] };
  }
}

/**
 * The file key in one ssh-rsa stanza whose tag fits, or undefined if the stanza is for another key with the same tag.
 * @throws age-header if the stanza is malformed
 */
export function unwrapSshRsa(
  key: SshRsaKey,
  privateKey: KeyObject,
  { args, body }: Stanza,
): Uint8Array | undefined {
  if (args.length !== 1)
    throw new SalvageError(
      'age-header',
      'Cannot read the ssh-rsa stanza of the age header: it has one argument',
    );
  if (body.length !== key.modulus.length) return undefined;
  try {
    return privateDecrypt({ key: privateKey, ...oaep }, body);
  } catch {
    return undefined;
  }
}
