import { createHash } from 'node:crypto';
import { SalvageError } from '../../errors/salvage-error.ts';
import { damagedObject } from '../../repository/damage.ts';
import type { ObjectDigest, SnapshotId } from '../../repository/ids.ts';
import { snapshotFileName } from '../../repository/layout.ts';
import { limits } from '../../repository/limits.ts';
import { checksumsDigest, decodeChecksums, type Checksums } from '../../repository/snapshot/checksums.ts';
import { decodeSnapshotJson, type SnapshotJson } from '../../repository/snapshot/snapshot-json.ts';
import { authorizeSigner, type AllowedSigner } from '../../ssh/allowed-signers.ts';
import { fingerprint } from '../../ssh/public-key.ts';
import { maxSshsigBytes, parseSshsig, verifySshsig } from '../../ssh/sshsig.ts';
import type { Storage } from '../../storage/storage.ts';
import { checkDigest, readRequired } from './read-object.ts';

/** Who may sign: from a file that the verifier holds, never from the repository. */
export interface TrustedSigners {
  readonly allowedSigners: readonly AllowedSigner[];
  /** The name under which the file lists the host's keys. */
  readonly principal: string;
}

export type SignatureState =
  /** Made by a key that may sign for the principal. */
  | { readonly state: 'trusted'; readonly principal: string; readonly fingerprint: string }
  /** Fits the list, but nobody said whose keys to trust: it proves nothing about who wrote it. */
  | { readonly state: 'unchecked'; readonly fingerprint: string };

/** The signed list of a snapshot: the root of all that is believed of it. */
export interface SignedSnapshot {
  readonly id: SnapshotId;
  /** Of SHA256SUMS; the next snapshot names it as `previous`. */
  readonly digest: ObjectDigest;
  readonly checksums: Checksums;
  readonly signature: SignatureState;
}

export const snapshotNamespace = 'salvage-snapshot';

/**
 * Reads SHA256SUMS and its signature.
 * @param time when the key must have been valid
 * @throws bad-signature, damaged
 */
export async function readSignedSnapshot(
  storage: Storage,
  id: SnapshotId,
  trusted: TrustedSigners | undefined,
  time: Date,
  signal?: AbortSignal,
): Promise<SignedSnapshot> {
  const [list, armored] = await Promise.all([
    readRequired(storage, snapshotFileName(id, 'SHA256SUMS'), limits.checksums, signal),
    readRequired(storage, snapshotFileName(id, 'SHA256SUMS.sig'), 2 * maxSshsigBytes, signal),
  ]);
  const signature = checkSnapshotSignature(id, list, armored, trusted, time);
  return { id, digest: checksumsDigest(list), checksums: decodeChecksums(list, id), signature };
}

function checkSnapshotSignature(
  id: SnapshotId,
  list: Uint8Array,
  armored: Uint8Array,
  trusted: TrustedSigners | undefined,
  time: Date,
): SignatureState {
  try {
    const sshsig = parseSshsig(armored);
    const { publicKey, namespace, hash } = sshsig;
    if (namespace !== snapshotNamespace)
      throw new SalvageError(
        'bad-signature',
        `Cannot accept the signature: it was made for "${namespace}" and not for "${snapshotNamespace}"`,
      );
    if (trusted)
      authorizeSigner(trusted.allowedSigners, { publicKey, namespace, principal: trusted.principal, time });
    verifySshsig(sshsig, createHash(hash).update(list).digest());
    const print = fingerprint(publicKey);
    return trusted
      ? { state: 'trusted', principal: trusted.principal, fingerprint: print }
      : { state: 'unchecked', fingerprint: print };
  } catch (error) {
    if (!(error instanceof SalvageError) || error.code !== 'bad-signature') throw error;
    const state = error.message.replace(/^Cannot [^:]*: /, '');
    throw new SalvageError('bad-signature', `Cannot trust snapshot ${id}: ${state}`, {
      cause: error,
      details: { ...error.details, object: snapshotFileName(id, 'SHA256SUMS.sig') },
      ...(error.hint !== undefined && { hint: error.hint }),
    });
  }
}

/** The public facts of a snapshot, as its signed list has them. @throws damaged */
export async function readSnapshotJson(
  storage: Storage,
  { id, checksums }: SignedSnapshot,
  signal?: AbortSignal,
): Promise<SnapshotJson> {
  const name = snapshotFileName(id, 'snapshot.json');
  const bytes = await readRequired(storage, name, limits.snapshotJson, signal);
  checkDigest(name, bytes, checksums.snapshotJson);
  return decodeSnapshotJson(bytes, id);
}

/** When the id says that the snapshot was made, by the host's clock. @throws damaged if there is no such time */
export function snapshotTime(id: SnapshotId): Date {
  const [, year, month, day, hour, minute, second] =
    /^\d{8}-(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z/.exec(id)!;
  const time = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(time.getTime())) throw damagedObject(id, 'the time in its name is none');
  return time;
}
