import { existsSync } from 'node:fs';
import { SalvageError } from '../../errors/salvage-error.ts';
import { compareTreePaths, isBelow } from '../../repository/tree/tree-path.ts';
import { planRoots } from '../../source/source-roots.ts';
import { Walk } from '../../source/walk.ts';
import type { OpenSnapshot } from '../open-snapshot.ts';
import type { Selection } from './selection.ts';
import { TargetRemover } from './target-remover.ts';
import { wantedEntries } from './wanted-entries.ts';

export interface DeleteOptions {
  /** Absolute. */
  readonly target: string;
  readonly selection: Selection;
  readonly dryRun: boolean;
}

/**
 * Deletes what is in the target and not in the wanted part of the snapshot: the walk of the target and the tree are merged,
 * in constant memory. What the selection does not want in the snapshot is not deleted in the target either. Returns how
 * many objects were deleted. @throws usage for a selection that cannot be turned back; failed
 */
export async function deleteOthers(
  snapshot: OpenSnapshot,
  { target, selection, dryRun }: DeleteOptions,
  onDelete: (path: Buffer) => Promise<void>,
  signal?: AbortSignal,
): Promise<number> {
  const origin = selection.originOf();
  if (!existsSync(target)) return 0;
  const walk = new Walk({
    roots: planRoots([`${target}/`]),
    onProblem: ({ path, message }) => {
      throw new SalvageError('failed', `Cannot delete in "${path.toString()}": ${message}`);
    },
  });
  const prefixLength = Buffer.byteLength(target.replace(/^\/+/, '')) + 1;
  const remover = new TargetRemover(target);
  /** Directories to be removed when what is in them is. */
  const leaving: Buffer[] = [];
  let deleted = 0;
  const remove = async (path: Buffer, isDirectory: boolean): Promise<void> => {
    if (!dryRun && !remover.remove(path, isDirectory)) return;
    deleted++;
    await onDelete(path);
  };
  const leave = async (next: Buffer | undefined): Promise<void> => {
    const isOpen = (directory: Buffer): boolean => next !== undefined && isBelow(next, directory);
    while (leaving.length > 0 && !isOpen(leaving.at(-1)!)) await remove(leaving.pop()!, true);
  };
  const wanted = wantedEntries(snapshot, selection, signal);
  let kept = await wanted.next();
  try {
    while (walk.next()) {
      signal?.throwIfAborted();
      const path = Buffer.from(walk.path, 'latin1').subarray(prefixLength);
      if (path.length === 0) continue;
      await leave(path);
      while (!kept.done && compareTreePaths(kept.value.path, path) < 0) kept = await wanted.next();
      const isDirectory = walk.type === 'directory';
      if (!kept.done && kept.value.path.equals(path)) continue;
      if (!origin(path, isDirectory)) continue;
      if (isDirectory) leaving.push(path);
      else await remove(path, false);
    }
    await leave(undefined);
  } finally {
    walk.close();
    remover.close();
    await wanted.return(undefined);
  }
  return deleted;
}
