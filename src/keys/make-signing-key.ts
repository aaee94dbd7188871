import { existsSync } from 'node:fs';
import { SalvageError } from '../errors/salvage-error.ts';
import { encodeEd25519PrivateKey, generateEd25519Key } from '../ssh/encode-private-key.ts';
import { formatPublicKey, type PublicKey } from '../ssh/public-key.ts';
import { writeNewKeyFile } from './key-file.ts';

export interface SigningKeyOptions {
  /** Stands behind the public key; says whose it is. One line. */
  readonly comment: string;
  /** Encrypts the private key. A host that signs unattended has none. */
  readonly passphrase?: string;
  /** bcrypt rounds, with a passphrase. Default: 256, a second or two for every guess. */
  readonly rounds?: number;
}

const defaultRounds = 256;

/**
 * Makes an Ed25519 key and writes its two files as ssh-keygen does: `path` with mode 0600, `path.pub`.
 * @throws bad-key if one of the files exists; failed if they cannot be written
 */
export async function makeSigningKey(path: string, options: SigningKeyOptions): Promise<PublicKey> {
  const { comment, passphrase, rounds = defaultRounds } = options;
  if (/[\r\n\0]/.test(comment))
    throw new SalvageError('usage', 'Cannot make a key: its comment is not one line of text');
  const publicPath = `${path}.pub`;
  for (const taken of [path, publicPath])
    if (existsSync(taken))
      throw new SalvageError('bad-key', `Cannot write the key "${taken}": there is a file already`, {
        hint: 'A key is never overwritten: give another name, or move the old one away.',
      });
  const key = generateEd25519Key(comment);
  const encryption = passphrase === undefined ? undefined : { passphrase, rounds };
  writeNewKeyFile(path, await encodeEd25519PrivateKey(key, encryption));
  writeNewKeyFile(publicPath, `${formatPublicKey(key.publicKey, comment)}\n`, 0o644);
  return key.publicKey;
}
