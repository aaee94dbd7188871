import { createHash } from 'node:crypto';
import { SalvageError } from '../../errors/salvage-error.ts';
import { authorizeSigner, type AllowedSigner } from '../../ssh/allowed-signers.ts';
import { fingerprint } from '../../ssh/public-key.ts';
import type { RevokedKeys } from '../../ssh/revoked-keys.ts';
import { parseSshsig, verifySshsig } from '../../ssh/sshsig.ts';

/** Who may sign: from a file that the verifier holds, never from the repository. */
export interface TrustedSigners {
  readonly allowedSigners: readonly AllowedSigner[];
  /** The name under which the file lists the keys. */
  readonly principal: string;
  /** Keys whose signatures count for nothing, whatever the file says and whenever they were made. */
  readonly revoked?: RevokedKeys;
}

export type SignatureState =
  /** Made by a key that may sign for the principal. */
  | { readonly state: 'trusted'; readonly principal: string; readonly fingerprint: string }
  /** Fits the document, but nobody said whose keys to trust: it proves nothing about who wrote it. */
  | { readonly state: 'unchecked'; readonly fingerprint: string };

export interface SignedDocument {
  /** For messages: "snapshot …". */
  readonly what: string;
  /** The object that holds the signature. */
  readonly signatureName: string;
  readonly namespace: string;
  readonly document: Uint8Array;
  readonly armored: Uint8Array;
}

/**
 * Checks an SSHSIG over a stored document.
 * @param time when the key must have been valid
 * @throws bad-signature
 */
export function checkDocumentSignature(
  { what, signatureName, namespace, document, armored }: SignedDocument,
  trusted: TrustedSigners | undefined,
  time: Date,
): SignatureState {
  try {
    const sshsig = parseSshsig(armored);
    const { publicKey, hash } = sshsig;
    if (sshsig.namespace !== namespace)
      throw new SalvageError(
        'bad-signature',
        `Cannot accept the signature: it was made for "${sshsig.namespace}" and not for "${namespace}"`,
      );
    if (trusted) {
      trusted.revoked?.check(publicKey);
      authorizeSigner(trusted.allowedSigners, { publicKey, namespace, principal: trusted.principal, time });
    }
    verifySshsig(sshsig, createHash(hash).update(document).digest());
    const print = fingerprint(publicKey);
    return trusted
      ? { state: 'trusted', principal: trusted.principal, fingerprint: print }
      : { state: 'unchecked', fingerprint: print };
  } catch (error) {
    if (!(error instanceof SalvageError) || error.code !== 'bad-signature') throw error;
    const state = error.message.replace(/^Cannot [^:]*: /, '');
    throw new SalvageError('bad-signature', `Cannot trust ${what}: ${state}`, {
      cause: error,
      details: { ...error.details, object: signatureName },
      ...(error.hint !== undefined && { hint: error.hint }),
    });
  }
}
