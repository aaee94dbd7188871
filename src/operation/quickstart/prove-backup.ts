import type { Identity } from '../../age/recipient.ts';
import type { Clock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { HostConfiguration } from '../../repository/host-configuration.ts';
import type { SnapshotId } from '../../repository/ids.ts';
import type { SourceProblem } from '../../source/source-problem.ts';
import { planRoots } from '../../source/source-roots.ts';
import type { Signer } from '../../ssh/signer.ts';
import type { Storage } from '../../storage/storage.ts';
import { backup, type BackupResult } from '../backup/backup.ts';
import { openSnapshot } from '../open-snapshot.ts';
import { SealedObjects } from '../reading/sealed-objects.ts';
import { readSignedSnapshot, snapshotTime, type TrustedSigners } from '../reading/signed-snapshot.ts';
import { restore } from '../restore/restore.ts';
import { Selection } from '../restore/selection.ts';
import { compareTrees, type TreeComparison } from './compare-trees.ts';

export interface ProveBackupOptions {
  /** Absolute path of the directory. */
  readonly directory: string;
  readonly storage: Storage;
  readonly host: HostConfiguration;
  readonly signer: Signer;
  readonly trusted: TrustedSigners;
  /** For the proof only: the backup itself gets none of it. */
  readonly identities: readonly Identity[];
  /** The folder of the repository in the user's cache. */
  readonly cacheFolder: string;
  /** An empty folder to restore to. Absolute. */
  readonly scratch: string;
  readonly threads: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onStep: (step: 'backup' | 'restore' | 'compare') => void;
  readonly onProblem: (problem: SourceProblem) => void;
  readonly onProgress: (bytes: number, files: number) => void;
}

export interface BackupProof {
  readonly snapshot: SnapshotId;
  readonly backup: BackupResult;
  readonly comparison: TreeComparison;
}

/**
 * Backs a directory up, checks the signature, restores the snapshot to the scratch folder and compares every file with the original.
 * Differences are in the result: whoever writes into the directory meanwhile makes some.
 * @throws whatever backup, signature check and restore throw
 */
export async function proveBackup(options: ProveBackupOptions): Promise<BackupProof> {
  const { directory, storage, scratch, clock, signal, onProblem, onProgress } = options;
  options.onStep('backup');
  const result = await backup({
    storage,
    host: options.host,
    signer: options.signer,
    source: {
      kind: 'paths',
      paths: [directory],
      walk: { roots: planRoots([`${directory}/`]), parents: true },
    },
    folder: options.cacheFolder,
    threads: options.threads,
    observer: { onProblem, onProgress, onNotice: () => {} },
    clock,
    signal,
  });
  const id = result.snapshot!;
  const signed = await readSignedSnapshot(storage, id, options.trusted, snapshotTime(id), signal);
  options.onStep('restore');
  const objects = new SealedObjects(storage, options.identities, signal);
  const snapshot = await openSnapshot(storage, signed, objects, signal);
  const fail = (message: string): never => {
    throw new SalvageError('failed', `Cannot prove the backup: ${message}`);
  };
  await restore(
    storage,
    snapshot,
    objects,
    { target: scratch, selection: new Selection({ paths: [directory] }), threads: options.threads },
    {
      onLost: ({ message }) => fail(message),
      onDamage: fail,
      onProblem: ({ path, what, message }) =>
        fail(`the ${what} of "${path.toString()}" could not be set: ${message}`),
      onProgress,
    },
    signal,
  );
  options.onStep('compare');
  const comparison = compareTrees(directory, `${scratch}${directory}`, onProblem);
  return { snapshot: id, backup: result, comparison };
}
