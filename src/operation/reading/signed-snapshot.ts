import { damagedObject } from '../../repository/damage.ts';
import type { ObjectDigest, SnapshotId } from '../../repository/ids.ts';
import { snapshotFileName } from '../../repository/layout.ts';
import { limits } from '../../repository/limits.ts';
import { checksumsDigest, decodeChecksums, type Checksums } from '../../repository/snapshot/checksums.ts';
import { decodeSnapshotJson, type SnapshotJson } from '../../repository/snapshot/snapshot-json.ts';
import { maxSshsigBytes } from '../../ssh/sshsig.ts';
import type { Storage } from '../../storage/storage.ts';
import { checkDocumentSignature, type SignatureState, type TrustedSigners } from './document-signature.ts';
import { oldVersions, readVersion, tellsOfDamage } from './find-original.ts';
import { readDigested, readRequired } from './read-object.ts';

export type { SignatureState, TrustedSigners } from './document-signature.ts';

/** The signed list of a snapshot: the root of all that is believed of it. */
export interface SignedSnapshot {
  readonly id: SnapshotId;
  /** Of SHA256SUMS; the next snapshot names it as `previous`. */
  readonly digest: ObjectDigest;
  readonly checksums: Checksums;
  readonly signature: SignatureState;
}

export const snapshotNamespace = 'salvage-snapshot';

/** The two files on which everything else of a snapshot hangs, as storage has them. */
export interface SignedFiles {
  /** SHA256SUMS */
  readonly list: Uint8Array;
  /** SHA256SUMS.sig */
  readonly armored: Uint8Array;
}

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
  const read = async (): Promise<SignedSnapshot> =>
    checkSignedFiles(id, await readSignedFiles(storage, id, signal), trusted, time);
  try {
    return await read();
  } catch (error) {
    const check = (files: SignedFiles): unknown => checkSignedFiles(id, files, trusted, time);
    if (!tellsOfDamage(error) || !(await findSignedFiles(storage, id, check, signal))) throw error;
    return await read();
  }
}

/** Looks among older versions of both files for two that belong together. True if reading gives them from now on. */
async function findSignedFiles(
  storage: Storage,
  id: SnapshotId,
  check: (files: SignedFiles) => unknown,
  signal?: AbortSignal,
): Promise<boolean> {
  const lists = await oldVersions(storage, snapshotFileName(id, 'SHA256SUMS'), signal);
  const signatures = await oldVersions(storage, snapshotFileName(id, 'SHA256SUMS.sig'), signal);
  for (const ofSignature of signatures) {
    const armored = await readVersion(storage, ofSignature, 2 * maxSshsigBytes, signal);
    for (const ofList of armored ? lists : []) {
      const list = await readVersion(storage, ofList, limits.checksums, signal);
      try {
        if (!list) continue;
        check({ list, armored: armored! });
      } catch (error) {
        if (!tellsOfDamage(error)) throw error;
        continue;
      }
      const superseded = [ofList, ofSignature].filter((version) => version.superseded);
      for (const version of superseded) storage.versions!.prefer(version);
      return superseded.length > 0;
    }
  }
  return false;
}

/** @throws damaged if one is missing or too long */
export async function readSignedFiles(
  storage: Storage,
  id: SnapshotId,
  signal?: AbortSignal,
): Promise<SignedFiles> {
  const [list, armored] = await Promise.all([
    readRequired(storage, snapshotFileName(id, 'SHA256SUMS'), limits.checksums, signal),
    readRequired(storage, snapshotFileName(id, 'SHA256SUMS.sig'), 2 * maxSshsigBytes, signal),
  ]);
  return { list, armored };
}

/** What the files say, if the signature is good. @throws as `readSignedSnapshot` */
export function checkSignedFiles(
  id: SnapshotId,
  { list, armored }: SignedFiles,
  trusted: TrustedSigners | undefined,
  time: Date,
): SignedSnapshot {
  const signature = checkDocumentSignature(
    {
      what: `snapshot ${id}`,
      signatureName: snapshotFileName(id, 'SHA256SUMS.sig'),
      namespace: snapshotNamespace,
      document: list,
      armored,
    },
    trusted,
    time,
  );
  return { id, digest: checksumsDigest(list), checksums: decodeChecksums(list, id), signature };
}

/** The public facts of a snapshot, as its signed list has them. @throws damaged */
export async function readSnapshotJson(
  storage: Storage,
  { id, checksums }: SignedSnapshot,
  signal?: AbortSignal,
): Promise<SnapshotJson> {
  const name = snapshotFileName(id, 'snapshot.json');
  const bytes = await readDigested(storage, name, limits.snapshotJson, checksums.snapshotJson, signal);
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
