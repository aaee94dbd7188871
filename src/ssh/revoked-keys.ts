import { createHash } from 'node:crypto';
import { asBuffer } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { isKeyRevocationList, parseKeyRevocationList } from './key-revocation-list.ts';
import { fingerprint, parsePublicKeyFile, type PublicKey } from './public-key.ts';

/** Keys whose signatures count for nothing, named by themselves or by a digest. */
export class RevokedKeys {
  /** As latin1. */
  readonly #entries: ReadonlySet<string>;

  /** From wire encodings of keys, or the SHA-1 or SHA-256 of those: they differ in length. */
  constructor(entries: Iterable<Uint8Array>) {
    this.#entries = new Set(Array.from(entries, latin1));
  }

  has({ blob }: PublicKey): boolean {
    const digest = (name: 'sha1' | 'sha256'): Uint8Array => createHash(name).update(blob).digest();
    return [blob, digest('sha1'), digest('sha256')].some((entry) => this.#entries.has(latin1(entry)));
  }

  /** @throws bad-signature if the key is revoked */
  check(key: PublicKey): void {
    if (this.has(key))
      throw new SalvageError(
        'bad-signature',
        `Cannot accept the signature: the key ${fingerprint(key)} is revoked`,
      );
  }
}

/**
 * Reads a revocation list, in either form that `ssh-keygen -Y verify -r` takes: one public key to a line, or OpenSSH's
 * binary form. @throws bad-key
 */
export function parseRevokedKeys(bytes: Uint8Array): RevokedKeys {
  if (isKeyRevocationList(bytes)) return new RevokedKeys(parseKeyRevocationList(bytes));
  return new RevokedKeys(parsePublicKeyFile(asBuffer(bytes).toString('utf8')).map(({ key }) => key.blob));
}

function latin1(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('latin1');
}
