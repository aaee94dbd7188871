import { SalvageError } from '../../errors/salvage-error.ts';
import type { SnapshotId } from '../../repository/ids.ts';
import type { Storage } from '../../storage/storage.ts';
import type { StoredSnapshot } from '../open-repository.ts';
import {
  readSignedSnapshot,
  readSnapshotJson,
  snapshotTime,
  type SignedSnapshot,
  type TrustedSigners,
} from './signed-snapshot.ts';

const prefix = 'latest:';

/** Whom to believe, and how tags are read. */
export interface LabelledReading {
  readonly trusted: TrustedSigners | undefined;
  /** Undefined where there is no identity, which tags are sealed to: then labels are looked at, and no tags. */
  readonly tagsOf: ((snapshot: SignedSnapshot) => Promise<readonly string[]>) | undefined;
}

/** What the selector `latest:LABEL` asks for; undefined for every other selector. */
export function labelIn(selector: string): string | undefined {
  return selector.startsWith(prefix) ? selector.slice(prefix.length) : undefined;
}

/**
 * The newest snapshot with this label (NAME, or NAME=VALUE) or this tag. One that is newer and not what its host signed
 * ends the search, for it may be the one: whoever damages a snapshot must not have an older one restored unseen.
 * @throws usage if none has it; bad-signature, damaged, no-identity-match, failed
 */
export async function newestLabelled(
  storage: Storage,
  committed: readonly StoredSnapshot[],
  label: string,
  { trusted, tagsOf }: LabelledReading,
  signal?: AbortSignal,
): Promise<SnapshotId> {
  for (const { id } of committed.toReversed()) {
    signal?.throwIfAborted();
    const signed = await readSignedSnapshot(storage, id, trusted, snapshotTime(id), signal);
    if (fits((await readSnapshotJson(storage, signed, signal)).labels, label)) return id;
    if (tagsOf && (await tagsOf(signed)).includes(label)) return id;
  }
  const state = tagsOf ? 'no snapshot has such a label or tag' : 'no snapshot has such a label';
  throw new SalvageError('usage', `Cannot select the snapshot "${prefix}${label.slice(0, 100)}": ${state}`, {
    hint: tagsOf
      ? 'salvage snapshots --json shows labels and tags.'
      : 'salvage snapshots --json shows labels; tags are seen with an identity only.',
  });
}

function fits(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  return Object.entries(labels).some(([name, value]) => wanted === name || wanted === `${name}=${value}`);
}
