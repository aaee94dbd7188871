import { createHash } from 'node:crypto';
import type { SshsigHash } from '../ssh/sshsig.ts';

/** The digest of a message of any length, piece by piece. */
export async function hashMessage(message: AsyncIterable<Uint8Array>, hash: SshsigHash): Promise<Uint8Array> {
  const digest = createHash(hash);
  for await (const piece of message) digest.update(piece);
  return digest.digest();
}
