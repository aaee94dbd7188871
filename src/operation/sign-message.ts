import type { Signer } from '../ssh/signer.ts';
import type { SshsigHash } from '../ssh/sshsig.ts';
import { hashMessage } from './hash-message.ts';

/** The namespace of archive signatures; a signature for one purpose is none for another (PROTOCOL.sshsig). */
export const archiveNamespace = 'salvage-archive';

export interface SignOptions {
  readonly namespace: string;
  /** Default: sha512, as ssh-keygen has it. */
  readonly hash?: SshsigHash;
}

/**
 * The armored signature over a message of any length: what belongs into `FILE.sig`, and what `ssh-keygen -Y verify` reads.
 * @throws bad-key if the signer cannot sign, usage if the namespace is empty, and whatever reading the message throws
 */
export async function signMessage(
  message: AsyncIterable<Uint8Array>,
  signer: Signer,
  { namespace, hash = 'sha512' }: SignOptions,
): Promise<string> {
  return signer.sign({ namespace, hash, digest: await hashMessage(message, hash) });
}
