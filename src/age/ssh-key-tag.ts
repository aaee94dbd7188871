import { createHash } from 'node:crypto';
import type { PublicKey } from '../ssh/public-key.ts';
import { encodeBase64 } from './base64.ts';

/**
 * The first argument of an ssh-ed25519 or ssh-rsa stanza: four bytes of the key's SHA-256. It spares trial decryption
 * and lets everyone see which files are for the same SSH key.
 */
export function sshKeyTag(key: PublicKey): string {
  return encodeBase64(createHash('sha256').update(key.blob).digest().subarray(0, 4));
}
