import { SalvageError } from '../../errors/salvage-error.ts';
import { snapshotFileName } from '../../repository/layout.ts';
import type { AllowedSigner } from '../../ssh/allowed-signers.ts';
import type { PublicKey } from '../../ssh/public-key.ts';
import type { Storage } from '../../storage/storage.ts';
import type { TrustedSigners } from '../reading/document-signature.ts';
import { snapshotTime } from '../reading/signed-snapshot.ts';
import type { RememberedHeads } from '../verify/remembered-heads.ts';
import type { Trouble } from '../verify/trouble.ts';
import { verify, type VerifyResult } from '../verify/verify.ts';

/** One repository of many below a root. */
export interface FleetMember {
  readonly name: string;
  /** Whose signatures are good in it. */
  readonly principal: string;
  /** Undefined if it is known from before and not there any more. */
  readonly open: (() => Promise<Storage>) | undefined;
}

export interface FleetOptions {
  readonly allowedSigners: readonly AllowedSigner[];
  /** Keys whose signatures count for nothing. */
  readonly revoked: readonly PublicKey[];
  readonly keeper: TrustedSigners | undefined;
  readonly heads: RememberedHeads;
  /** As for `verify`. */
  readonly readShare: number;
  /** So many repositories at a time, each with one thread. */
  readonly atOnce: number;
}

export interface FleetFinding {
  readonly name: string;
  /** Undefined where `error` says why. */
  readonly result: VerifyResult | undefined;
  readonly error: SalvageError | undefined;
  /** When the newest good snapshot was made: by its own word, or when storage received it if that is earlier. */
  readonly newest: Date | undefined;
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
  { name, principal, open }: FleetMember,
  { allowedSigners, revoked, keeper, heads, readShare }: FleetOptions,
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
    const result = await verify(
      storage,
      {
        trusted: { allowedSigners, principal, revoked },
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
    if (result.troubles.length === 0 && result.head) heads.write(result.head, description);
    return { name, result, error: undefined, newest: await timeOfNewest(storage, result, signal) };
  } catch (error) {
    if (!(error instanceof SalvageError) || error.code === 'interrupted') throw error;
    return { name, result: undefined, error, newest: undefined };
  } finally {
    await storage?.close();
  }
}

async function timeOfNewest(
  storage: Storage,
  { head }: VerifyResult,
  signal: AbortSignal,
): Promise<Date | undefined> {
  if (!head) return undefined;
  const made = snapshotTime(head.snapshot);
  const stat = await storage.stat(snapshotFileName(head.snapshot, 'SHA256SUMS.sig'), signal);
  return stat?.receivedAt && stat.receivedAt < made ? stat.receivedAt : made;
}
