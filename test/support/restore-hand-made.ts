// Restores snapshots of a hand-made repository in the test's own process, and notes everything that is told on the way.
import { openSnapshot, type OpenSnapshot } from '../../src/operation/open-snapshot.ts';
import { SealedObjects } from '../../src/operation/reading/sealed-objects.ts';
import { readSignedSnapshot } from '../../src/operation/reading/signed-snapshot.ts';
import type { RestoreSummary } from '../../src/operation/restore/restore-report.ts';
import { restore, type RestoreOptions } from '../../src/operation/restore/restore.ts';
import { Selection } from '../../src/operation/restore/selection.ts';
import type { SnapshotId } from '../../src/repository/ids.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { handMadePrincipal, type HandMadeRepository } from './hand-made-repository.ts';

export interface RestoreReport {
  readonly summary: RestoreSummary;
  /** Messages, in order of their paths. */
  readonly lost: readonly string[];
  readonly problems: readonly string[];
  readonly damage: readonly string[];
}

export interface OpenedHandMade {
  readonly snapshot: OpenSnapshot;
  readonly objects: SealedObjects;
}

export async function openHandMade(
  repository: HandMadeRepository,
  id: SnapshotId,
  storage: Storage = repository.storage,
  signal?: AbortSignal,
): Promise<OpenedHandMade> {
  const trusted = { allowedSigners: repository.allowedSigners, principal: handMadePrincipal };
  const signed = await readSignedSnapshot(storage, id, trusted, new Date(), signal);
  const objects = new SealedObjects(storage, [repository.identity], signal);
  return { snapshot: await openSnapshot(storage, signed, objects, signal), objects };
}

export async function restoreHandMade(
  repository: HandMadeRepository,
  id: SnapshotId,
  options: Omit<RestoreOptions, 'selection'> & { readonly selection?: Selection; readonly storage?: Storage },
): Promise<RestoreReport> {
  const { storage = repository.storage, ...rest } = options;
  const { snapshot, objects } = await openHandMade(repository, id, storage);
  const lost: string[] = [];
  const problems: string[] = [];
  const damage: string[] = [];
  const summary = await restore(
    storage,
    snapshot,
    objects,
    { threads: 2, allowDevices: true, selection: new Selection({}), ...rest },
    {
      onLost: ({ message }) => lost.push(message),
      onProblem: ({ path, what, message }) => problems.push(`${path.toString()}: ${what}: ${message}`),
      onDamage: (message) => damage.push(message),
      onProgress: () => {},
    },
  );
  return { summary, lost: lost.sort(), problems, damage };
}
