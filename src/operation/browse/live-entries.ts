import { readXattrsAt } from '../../posix/extended-attributes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { planRoots } from '../../source/source-roots.ts';
import type { ReportSourceProblem } from '../../source/source-problem.ts';
import { Walk } from '../../source/walk.ts';
import type { OpenSnapshot } from '../open-snapshot.ts';
import type { ComparableEntry } from './diff-trees.ts';

/**
 * What is on this machine now at the paths of a snapshot, as a backup would walk it; contents are not read.
 * @throws failed if one of the paths is not there; usage if the snapshot is of a stream
 */
export async function* liveEntries(
  snapshot: OpenSnapshot,
  onProblem: ReportSourceProblem,
  signal?: AbortSignal,
): AsyncGenerator<ComparableEntry> {
  const { paths } = snapshot.root;
  const base = await findBase(snapshot, signal);
  const walk = new Walk({ roots: planRoots(paths), parents: true, onProblem });
  try {
    while (walk.next()) {
      signal?.throwIfAborted();
      if (!walk.path.startsWith(base) || walk.path === '.') continue;
      const xattrs = walk.type === 'file' ? attributesOf(walk.realPath) : undefined;
      const entry = walk.entry({ xattrs });
      if (!entry) continue;
      const moved = { ...entry, path: entry.path.subarray(base.length) };
      const target = entry.type === 'hardlink' && { target: entry.target!.subarray(base.length) };
      yield { entry: { ...moved, ...target }, content: undefined };
    }
  } finally {
    walk.close();
  }
}

/**
 * A snapshot tells its paths from the root of the file system, and its tree may begin at the folder where the backup was
 * run: what is to be left out in front of a path to get the one in the tree, as a latin1 string.
 */
async function findBase(snapshot: OpenSnapshot, signal: AbortSignal | undefined): Promise<string> {
  const [first = ''] = snapshot.root.paths;
  const parts = first.split('/').filter((part) => part !== '');
  for (let start = 0; start < parts.length; start++) {
    const found = await snapshot.find(Buffer.from(parts.slice(start).join('/')), signal);
    if (found)
      return Buffer.from(
        parts
          .slice(0, start)
          .map((part) => `${part}/`)
          .join(''),
      ).toString('latin1');
  }
  if (first === '/') return '';
  throw new SalvageError('usage', 'Cannot compare with this machine: the snapshot is not one of paths', {
    hint: 'Name two snapshots to compare with each other.',
  });
}

function attributesOf(realPath: string): ReadonlyMap<string, Buffer> | undefined {
  try {
    return readXattrsAt(Buffer.from(realPath, 'latin1'), false);
  } catch {
    return undefined;
  }
}
