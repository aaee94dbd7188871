import { SalvageError } from '../errors/salvage-error.ts';
import { authorizeSigner, type AllowedSigner } from '../ssh/allowed-signers.ts';
import { fingerprint } from '../ssh/public-key.ts';
import type { RevokedKeys } from '../ssh/revoked-keys.ts';
import { parseSshsig, verifySshsig, type SshsigHash } from '../ssh/sshsig.ts';
import { hashMessage } from './hash-message.ts';

export interface SignatureExpectation {
  readonly allowedSigners: readonly AllowedSigner[];
  readonly revokedKeys?: RevokedKeys;
  /** Who must have signed. */
  readonly principal: string;
  readonly namespace: string;
  /** When the key must have been valid. */
  readonly time: Date;
}

/** A signature that was found good. */
export interface CheckedSignature {
  readonly principal: string;
  readonly namespace: string;
  readonly keyType: string;
  /** `SHA256:…`, as ssh-keygen -l prints it. */
  readonly fingerprint: string;
  readonly hash: SshsigHash;
}

/**
 * Checks a detached signature as `ssh-keygen -Y verify` does. Who may sign is checked before the message is read; an
 * unknown key's signature is never computed with.
 * @throws bad-signature, saying what is wrong; and whatever reading the message throws
 */
export async function checkSignature(
  message: AsyncIterable<Uint8Array>,
  signature: Uint8Array,
  expectation: SignatureExpectation,
): Promise<CheckedSignature> {
  const { allowedSigners, revokedKeys, principal, namespace, time } = expectation;
  const sshsig = parseSshsig(signature);
  const { publicKey, hash } = sshsig;
  if (sshsig.namespace !== namespace)
    throw new SalvageError(
      'bad-signature',
      `Cannot accept the signature: it was made for the namespace "${sshsig.namespace}", not "${namespace}"`,
    );
  revokedKeys?.check(publicKey);
  authorizeSigner(allowedSigners, { publicKey, principal, namespace, time });
  verifySshsig(sshsig, await hashMessage(message, hash));
  return { principal, namespace, keyType: publicKey.type, fingerprint: fingerprint(publicKey), hash };
}
