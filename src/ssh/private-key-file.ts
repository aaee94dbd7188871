import type { KeyObject } from 'node:crypto';
import { SalvageError } from '../errors/salvage-error.ts';
import type { PublicKey } from './public-key.ts';

/** A private key ready for use. */
export interface PrivateKey {
  readonly publicKey: PublicKey;
  readonly key: KeyObject;
  readonly comment: string;
}

/** A private key file after its outside was read: still locked if it is encrypted. */
export interface PrivateKeyFile {
  /** undefined only for an encrypted PKCS#1 or PKCS#8 file, which hides it. */
  readonly publicKey: PublicKey | undefined;
  readonly encrypted: boolean;
  /** What a guess at the passphrase costs; undefined if it is not encrypted, or derived by something weaker than bcrypt. */
  readonly bcryptRounds?: number;
  /**
   * Decrypts and checks the key; this may take seconds, which an aborted signal ends. Throws bad-key; if the passphrase
   * is missing or wrong, `isWrongPassphrase` is true for the error, and another passphrase may be tried.
   */
  unlock(passphrase?: string, signal?: AbortSignal): Promise<PrivateKey>;
}

/** Makes the errors of one key file; they all say which. */
export type PrivateKeyFailure = (state: string, hint?: string) => SalvageError;

/** The error for a passphrase that is missing or does not fit. */
export function wrongPassphrase(fail: PrivateKeyFailure, state: string): SalvageError {
  return new SalvageError('bad-key', fail(state).message, {
    hint: 'Give the passphrase that was set when the key was made.',
    details: { wrongPassphrase: true },
  });
}

/** True for an error after which another passphrase may be tried. */
export function isWrongPassphrase(error: unknown): boolean {
  return error instanceof SalvageError && error.details['wrongPassphrase'] === true;
}
