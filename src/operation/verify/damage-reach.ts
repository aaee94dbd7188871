import type { PackId, SnapshotId } from '../../repository/ids.ts';
import { indexName, packName, roleOf, snapshotFileName } from '../../repository/layout.ts';
import type { SignedSnapshot } from '../reading/signed-snapshot.ts';
import type { Trouble, TroubleKind } from './trouble.ts';

/** What is not there as it was signed, in no version. */
const damage: ReadonlySet<TroubleKind> = new Set<TroubleKind>([
  'missing-object',
  'truncated-object',
  'changed-object',
  'swapped-object',
  'damaged-content',
]);

/** The packs whose content a host would have to store anew. */
export function packsToHeal(troubles: readonly Trouble[]): PackId[] {
  const packs = new Set<PackId>();
  for (const name of damagedObjects(troubles)) {
    const role = roleOf(name);
    if (role?.kind === 'pack') packs.add(role.id);
  }
  return [...packs];
}

/** What no host can store anew: it has neither the keys nor the bytes. Only a copy of the repository has them. */
export interface BeyondHealing {
  /** No snapshot is less without them: a host reads them when it has lost its cache, and a restorer to find what was healed. */
  readonly indexes: number;
  /** Snapshots of whose own files, `root.age` among them, something is damaged or missing. */
  readonly snapshots: number;
}

export function countBeyondHealing(troubles: readonly Trouble[]): BeyondHealing {
  const indexes = new Set<string>();
  const snapshots = new Set<string>();
  for (const name of damagedObjects(troubles)) {
    const role = roleOf(name);
    if (role?.kind === 'index') indexes.add(role.id);
    if (role?.kind === 'snapshot') snapshots.add(role.id);
  }
  for (const { kind, snapshot } of troubles)
    if (kind === 'damaged-snapshot' && snapshot !== undefined) snapshots.add(snapshot);
  return { indexes: indexes.size, snapshots: snapshots.size };
}

/** Which of the snapshots need something that is damaged. */
export function damagedSnapshots(
  signed: readonly SignedSnapshot[],
  troubles: readonly Trouble[],
): SnapshotId[] {
  const names = damagedObjects(troubles);
  if (names.size === 0) return [];
  return signed
    .filter(
      ({ id, checksums }) =>
        names.has(snapshotFileName(id, 'root.age')) ||
        checksums.packs.some((pack) => names.has(packName(pack))) ||
        checksums.indexes.some((index) => names.has(indexName(index))),
    )
    .map(({ id }) => id);
}

function damagedObjects(troubles: readonly Trouble[]): Set<string> {
  return new Set(troubles.flatMap(({ kind, object }) => (object && damage.has(kind) ? [object] : [])));
}
