import { SalvageError } from '../../errors/salvage-error.ts';
import type { RepositoryId, SnapshotId } from '../../repository/ids.ts';
import { snapshotFileName } from '../../repository/layout.ts';
import type { Storage } from '../../storage/storage.ts';
import { listSnapshots, readRepositoryJson } from '../open-repository.ts';
import type { TrustedSigners } from '../reading/document-signature.ts';
import { snapshotTime } from '../reading/signed-snapshot.ts';
import type { RememberedHeads } from '../verify/remembered-heads.ts';
import type { Trouble } from '../verify/trouble.ts';
import { verify, type VerifyResult } from '../verify/verify.ts';
import { measureStorage, type StoredAmount } from './measure-storage.ts';

/** One repository of many below a root. */
export interface FleetMember {
  readonly name: string;
  /** Whose signatures are good in it. Undefined if nobody said: then nothing is verified, and the newest snapshot believed. */
  readonly trusted: TrustedSigners | undefined;
  /** Whose records of removal are good in it. */
  readonly keeper: TrustedSigners | undefined;
  /** Undefined if it is known from before and not there any more. */
  readonly open: (() => Promise<Storage>) | undefined;
}

export interface FleetOptions {
  readonly heads: RememberedHeads;
  /** As for `verify`. */
  readonly readShare: number;
  /** With it what is stored is measured, as of this moment. */
  readonly measureAt?: Date | undefined;
  /** So many repositories at a time, each with one thread. */
  readonly atOnce: number;
}

export interface FleetFinding {
  readonly name: string;
  /** Undefined where the repository could not be read. */
  readonly repository: RepositoryId | undefined;
  /** Undefined where `error` says why, or nobody said whose signatures to trust. */
  readonly result: VerifyResult | undefined;
  readonly error: SalvageError | undefined;
  /** When the newest good snapshot was made: by its own word, or when storage received it if that is earlier. */
  readonly newest: Date | undefined;
  /** The newest good snapshot; only as good as its name where `result` is undefined. */
  readonly snapshot: SnapshotId | undefined;
  /** How many there are. */
  readonly snapshots: number | undefined;
  readonly stored: StoredAmount | undefined;
}

export interface FleetObserver {
  onTrouble(name: string, trouble: Trouble): void;
  onDone(finding: FleetFinding): void;
}

/**
 * Verifies many repositories, one independent of the other: what is wrong with one stops none. The findings come in the
 * order of the members. @throws interrupted
 */
export async function verifyFleet(
  members: readonly FleetMember[],
  options: FleetOptions,
  observer: FleetObserver,
  signal: AbortSignal,
): Promise<FleetFinding[]> {
  const findings: FleetFinding[] = [];
  const waiting = members.entries();
  const work = async (): Promise<void> => {
    for (const [index, member] of waiting) {
      findings[index] = await verifyMember(member, options, observer, signal);
      observer.onDone(findings[index]);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, options.atOnce) }, work));
  return findings;
}

async function verifyMember(
  { name, trusted, keeper, open }: FleetMember,
  { heads, readShare, measureAt }: FleetOptions,
  observer: FleetObserver,
  signal: AbortSignal,
): Promise<FleetFinding> {
  let storage: Storage | undefined;
  try {
    signal.throwIfAborted();
    if (!open)
      throw new SalvageError(
        'damaged',
        `Cannot find the repository "${name}": it was here before, and is not any more`,
      );
    storage = await open();
    const { description } = storage;
    const stored = measureAt && (await measureStorage(storage, measureAt, signal));
    if (!trusted) return { name, stored, ...(await lookAt(storage, signal)) };
    const result = await verify(
      storage,
      {
        trusted,
        keeper,
        remembered: (repository) => heads.read(repository),
        seenHere: heads.at(description),
        readShare,
        threads: 1,
      },
      {
        onTrouble: (trouble) => observer.onTrouble(name, trouble),
        onTotal: () => {},
        onProgress: () => {},
      },
      signal,
    );
    const { repository, snapshots, head } = result;
    if (result.troubles.length === 0 && head) heads.write(head, description);
    return {
      name,
      repository,
      result,
      error: undefined,
      newest: await timeOf(storage, head?.snapshot, signal),
      snapshot: head?.snapshot,
      snapshots,
      stored,
    };
  } catch (error) {
    if (!(error instanceof SalvageError) || error.code === 'interrupted') throw error;
    const nothing = { repository: undefined, newest: undefined, snapshot: undefined, snapshots: undefined };
    return { name, result: undefined, error, ...nothing, stored: undefined };
  } finally {
    await storage?.close();
  }
}

/** What storage says, without any check. */
async function lookAt(storage: Storage, signal: AbortSignal): Promise<Omit<FleetFinding, 'name' | 'stored'>> {
  const { id: repository } = await readRepositoryJson(storage, signal);
  const { committed } = await listSnapshots(storage, signal);
  const snapshot = committed.at(-1)?.id;
  const newest = await timeOf(storage, snapshot, signal);
  return { repository, result: undefined, error: undefined, newest, snapshot, snapshots: committed.length };
}

/** By the host's word, or by that of storage if it is earlier: nobody makes a backup younger than it is. */
async function timeOf(
  storage: Storage,
  snapshot: SnapshotId | undefined,
  signal: AbortSignal,
): Promise<Date | undefined> {
  if (snapshot === undefined) return undefined;
  const made = snapshotTime(snapshot);
  const stat = await storage.stat(snapshotFileName(snapshot, 'SHA256SUMS.sig'), signal);
  return stat?.receivedAt && stat.receivedAt < made ? stat.receivedAt : made;
}
