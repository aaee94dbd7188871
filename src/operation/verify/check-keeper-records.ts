import type { ObjectDigest, RepositoryId } from '../../repository/ids.ts';
import type { Storage } from '../../storage/storage.ts';
import {
  readKeeperHistory,
  type KeeperHistory,
  type KeeperProblem,
  type TrustedRecord,
} from '../keeper/keeper-records.ts';
import type { TrustedSigners } from '../reading/document-signature.ts';
import type { Trouble, TroubleKind } from './trouble.ts';

/** The newest record of a keeper that was ever found good. */
export interface KeeperHead {
  readonly number: number;
  readonly digest: ObjectDigest;
}

const kinds: Readonly<Record<KeeperProblem['kind'], TroubleKind>> = {
  forged: 'forged-record',
  damaged: 'forged-record',
  missing: 'missing-record',
  forked: 'forked-chain',
  unreadable: 'unreadable',
};

export interface CheckedRecords {
  readonly records: readonly TrustedRecord[];
  readonly troubles: readonly Trouble[];
  readonly head: KeeperHead | undefined;
}

/** Reads what a trusted keeper says that it did, and tells what is wrong with its records. */
export async function checkKeeperRecords(
  storage: Storage,
  repository: RepositoryId,
  trusted: TrustedSigners,
  remembered: KeeperHead | undefined,
  signal?: AbortSignal,
): Promise<CheckedRecords> {
  const { records, problems }: KeeperHistory = await readKeeperHistory(storage, repository, trusted, signal);
  const troubles: Trouble[] = problems.map(({ kind, message, object }) => ({
    kind: kinds[kind],
    message,
    ...(object !== undefined && { object }),
  }));
  const same = records.find(({ id }) => id.number === remembered?.number);
  if (remembered && same?.digest !== remembered.digest)
    troubles.push({
      kind: 'rollback',
      message: same
        ? `The keeper's record number ${remembered.number} is another one than was seen here before: history was rewritten.`
        : `The keeper's record number ${remembered.number} was seen here before and is not there any more: storage was rolled back, or records were removed.`,
    });
  const newest = records.at(-1);
  return { records, troubles, head: newest && { number: newest.id.number, digest: newest.digest } };
}
