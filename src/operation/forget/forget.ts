import { SalvageError } from '../../errors/salvage-error.ts';
import type { ObjectDigest, SnapshotId } from '../../repository/ids.ts';
import { sequenceOf } from '../../repository/ids.ts';
import type { Storage } from '../../storage/storage.ts';
import { prefetch } from '../copy/prefetch.ts';
import { removeSnapshotFiles, type KeeperSession } from '../keeper/keeper-session.ts';
import { listSnapshots, type StoredSnapshots } from '../open-repository.ts';
import type { TrustedSigners } from '../reading/document-signature.ts';
import {
  checkSignedFiles,
  readSignedFiles,
  readSnapshotJson,
  snapshotTime,
  type SignedFiles,
} from '../reading/signed-snapshot.ts';
import { snapshotFileName } from '../../repository/layout.ts';
import {
  applyPolicy,
  hasLabel,
  type DatedSnapshot,
  type Decision,
  type LabelPattern,
  type RetentionPolicy,
} from './retention-policy.ts';

/** Signed lists that are on their way while one is looked at. */
const listsAhead = 4;

export interface ForgetOptions {
  readonly storage: Storage;
  readonly session: KeeperSession;
  /** Whose snapshots count. What anybody else has put there must not push them out. */
  readonly trusted: TrustedSigners;
  readonly policy: RetentionPolicy;
  /** Decide about these only; the others stay. */
  readonly only?: LabelPattern | undefined;
  /** At most this share of the snapshots decided about goes at once, from 0 to 1. */
  readonly maxRemove: number;
  readonly now: Date;
  readonly signal: AbortSignal;
}

/** A snapshot of the host, in good order. */
export interface ForgettableSnapshot extends DatedSnapshot {
  readonly checksums: ObjectDigest;
  readonly previous: ObjectDigest | null;
}

export interface ForgetPlan {
  readonly stored: StoredSnapshots;
  /** In order of sequence. */
  readonly decisions: readonly Decision<ForgettableSnapshot>[];
  /** How many of them were decided about. */
  readonly considered: number;
  /** What cannot be trusted is neither counted nor removed. */
  readonly untrusted: readonly { readonly id: SnapshotId; readonly message: string }[];
  /** Receipt times, for the keeper to remember. */
  readonly received: Readonly<Record<string, string>>;
}

/** Looks, and decides. Changes nothing. @throws failed, interrupted */
export async function planForget(options: ForgetOptions): Promise<ForgetPlan> {
  const { storage, session, trusted, policy, only, now, signal } = options;
  const stored = await listSnapshots(storage, signal);
  const snapshots: ForgettableSnapshot[] = [];
  const untrusted: { id: SnapshotId; message: string }[] = [];
  const received: Record<string, string> = {};
  let newest = new Date(0);
  // What an earlier run did not finish is no snapshot any more.
  const ids = stored.committed
    .map(({ id }) => id)
    .filter((id) => session.forgotten.get(sequenceOf(id))?.id !== id);
  for await (const [id, files] of prefetch(ids, listsAhead, (id) => loadFiles(storage, id, signal))) {
    signal.throwIfAborted();
    try {
      if (files instanceof SalvageError) throw files;
      const time = later(newest, snapshotTime(id));
      const signed = checkSignedFiles(id, files, trusted, time);
      const json = await readSnapshotJson(storage, signed, signal);
      if (json.repository !== session.repository)
        throw new SalvageError('damaged', `Cannot trust snapshot ${id}: it is of another repository`);
      newest = time;
      const when = await receiptOf(id, new Date(json.time), options);
      received[id] = when.toISOString();
      const { previous, group, labels } = json;
      snapshots.push({ id, received: when, group, labels, checksums: signed.digest, previous });
    } catch (error) {
      if (!(error instanceof SalvageError) || !['damaged', 'bad-signature'].includes(error.code)) throw error;
      untrusted.push({ id, message: error.message });
    }
  }
  const considered = only ? snapshots.filter(({ labels }) => hasLabel(labels, only)) : snapshots;
  const decided = new Map(
    applyPolicy(considered, policy).map((decision) => [decision.snapshot.id, decision]),
  );
  const head = snapshots.at(-1);
  const decisions = snapshots.map((snapshot): Decision<ForgettableSnapshot> => {
    const decision = decided.get(snapshot.id) ?? { snapshot, reasons: ['not asked about'] };
    // The head of the chain is what verifiers compare with.
    return snapshot === head && decision.reasons.length === 0 ? { snapshot, reasons: ['newest'] } : decision;
  });
  return { stored, decisions, considered: considered.length, untrusted, received };

  /**
   * Decided at first sight, and kept: by the clock of storage, within what the keeper saw for itself. Nothing that was not
   * there when it last looked was received before, and nothing that it sees was received later than now.
   */
  async function receiptOf(id: SnapshotId, hostTime: Date, { storage }: ForgetOptions): Promise<Date> {
    const known = session.state.received[id];
    if (known !== undefined) return new Date(known);
    const stat = await storage.stat(snapshotFileName(id, 'SHA256SUMS.sig'), signal);
    const told = stat?.receivedAt ?? hostTime;
    const { looked } = session.state;
    const notBefore = looked === null ? told : later(told, new Date(looked));
    return notBefore > now ? now : notBefore;
  }
}

/** An error of this snapshot is a value: it is told when its turn comes. */
async function loadFiles(
  storage: Storage,
  id: SnapshotId,
  signal: AbortSignal,
): Promise<SignedFiles | SalvageError> {
  try {
    return await readSignedFiles(storage, id, signal);
  } catch (error) {
    if (error instanceof SalvageError && error.code !== 'interrupted') return error;
    throw error;
  }
}

/** Those that go. */
export function forgettable({ decisions }: ForgetPlan): readonly ForgettableSnapshot[] {
  return decisions.filter(({ reasons }) => reasons.length === 0).map(({ snapshot }) => snapshot);
}

/**
 * Signs the record of what goes, and removes it; also what an earlier run has signed and not come to.
 * Returns what is gone.
 * @throws failed if more would go than `maxRemove` allows, or storage does not remove; bad-key
 */
export async function executeForget(
  plan: ForgetPlan,
  options: ForgetOptions,
): Promise<readonly SnapshotId[]> {
  const { storage, session, signal } = options;
  const going = forgettable(plan);
  session.requireRemoval();
  checkShare(plan, going, options);
  await finishForgetting(storage, session, plan.stored, signal);
  if (going.length > 0)
    await session.record({
      action: 'forget',
      snapshots: going.map(({ id, checksums, previous }) => ({ id, checksums, previous })),
    });
  for (const { id } of going) await removeSnapshotFiles(storage, id, signal);
  await storage.settle(signal);
  const gone = new Set<string>(going.map(({ id }) => id));
  // Only what the host has signed: a number that somebody made up would be missed for ever.
  session.remember(plan.decisions.at(-1)?.snapshot.id, {
    received: Object.fromEntries(Object.entries(plan.received).filter(([id]) => !gone.has(id))),
  });
  return going.map(({ id }) => id);
}

/** Removes what is left of snapshots that a signed record says are removed. */
export async function finishForgetting(
  storage: Storage,
  { forgotten }: KeeperSession,
  { committed, unfinished }: StoredSnapshots,
  signal: AbortSignal,
): Promise<void> {
  for (const id of [...committed.map(({ id }) => id), ...unfinished])
    if (forgotten.get(sequenceOf(id))?.id === id) await removeSnapshotFiles(storage, id, signal);
}

function checkShare(
  { considered }: ForgetPlan,
  going: readonly ForgettableSnapshot[],
  { maxRemove }: ForgetOptions,
): void {
  if (going.length <= considered * maxRemove) return;
  const percent = (share: number): string => `${Math.round(share * 100)} %`;
  throw new SalvageError(
    'failed',
    `Cannot forget ${going.length} of ${considered} snapshots: that is more than the ${percent(maxRemove)} allowed at once`,
    {
      hint: 'A host that was broken into pushes good snapshots out like this, with many new ones or with forged times. Look at the table above; if it is what you want, say --max-remove 100%.',
    },
  );
}

function later(a: Date, b: Date): Date {
  return a > b ? a : b;
}
