import { SalvageError } from '../errors/salvage-error.ts';
import { parsePublicKeyLine } from '../ssh/public-key.ts';
import type { Recipient } from './recipient.ts';
import { SshEd25519Recipient } from './ssh-ed25519.ts';
import { SshRsaRecipient } from './ssh-rsa.ts';

/**
 * The recipient of a line of a .pub, authorized_keys or GitHub .keys file. undefined if the line holds a valid key of a
 * type that cannot encrypt, such as ECDSA or a hardware key.
 * @throws bad-key if the line is malformed, or the key is too weak; the line is not repeated
 */
export function parseSshRecipient(line: string): Recipient | undefined {
  const parsed = parsePublicKeyLine(line);
  if (!parsed) throw new SalvageError('bad-key', 'Cannot read the SSH recipient: the line holds no key');
  switch (parsed.key.kind) {
    case 'ed25519':
      return new SshEd25519Recipient(parsed.key);
    case 'rsa':
      return new SshRsaRecipient(parsed.key);
    default:
      return undefined;
  }
}
