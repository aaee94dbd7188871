import { formatIdentityFile, generateIdentity } from '../age/generate.ts';
import type { Clock } from '../clock/clock.ts';
import { writeNewKeyFile } from './key-file.ts';

/**
 * Makes an age identity and writes it to a new file, mode 0600, as age-keygen does. Returns its recipient, `age1…`.
 * @throws bad-key if the file exists; failed if it cannot be written
 */
export function makeIdentity(path: string, clock: Clock, kind: 'x25519' | 'hybrid' = 'x25519'): string {
  const identity = generateIdentity(kind);
  writeNewKeyFile(path, formatIdentityFile(identity, clock.now()));
  return identity.recipient.toString();
}
