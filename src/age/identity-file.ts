import { asBuffer } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { EncryptedIdentityFile, looksLikeAgeFile } from './encrypted-identity-file.ts';
import { parseIdentityLines } from './identity-lines.ts';
import type { Identity, IdentityPlugins, RequestPassphrase } from './recipient.ts';
import { parseSshIdentity } from './ssh-identity.ts';

const maxPrivateKeyBytes = 16 * 1024;

export interface IdentityFileOptions {
  /** Stands for the file in messages and prompts, usually its path. */
  readonly name: string;
  /** Asked only when a passphrase is really needed. */
  readonly requestPassphrase: RequestPassphrase;
  /** Reads the .pub file beside an SSH key whose own format hides the public half. */
  readonly publicKeyFile?: () => Uint8Array | undefined;
  /** See ScryptIdentity. */
  readonly maxLogN?: number;
  /** Without it, the identity of a plugin is an error. */
  readonly plugins?: IdentityPlugins;
  /** Ends the work of unlocking a key: bcrypt, scrypt. */
  readonly signal?: AbortSignal;
}

/**
 * The identities in a file (age(1), "-i"): lines of secret keys with `#` comments, the same encrypted to a passphrase
 * (binary or armored), or one SSH private key.
 * @throws bad-key if it is none of these; what it holds is not repeated
 */
export function parseIdentityFile(bytes: Uint8Array, options: IdentityFileOptions): Identity[] {
  if (looksLikeAgeFile(bytes)) return [new EncryptedIdentityFile(bytes, options)];
  if (asBuffer(bytes.subarray(0, 1024)).toString('latin1').trimStart().startsWith('-----BEGIN ')) {
    if (bytes.length > maxPrivateKeyBytes)
      throw new SalvageError(
        'bad-key',
        `Cannot read the private key "${options.name}": it is larger than 16 KiB`,
      );
    return [parseSshIdentity(bytes, options)];
  }
  return parseIdentityLines(bytes, options.name, options.plugins);
}
