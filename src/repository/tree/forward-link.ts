import type { FileEntry } from '../../posix/file-entry.ts';
import { compareTreePaths } from './tree-path.ts';

/**
 * True for a hard link whose first name is not an entry before it, as docs/design/format.md "Tree segments" demands:
 * readers go through a tree once, and must have seen what a link leads to.
 */
export function leadsForward({ type, path, target }: FileEntry): boolean {
  return type === 'hardlink' && compareTreePaths(target!, path) >= 0;
}
