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
