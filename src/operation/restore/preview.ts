import { lstatSync, type BigIntStats } from 'node:fs';
import type { FileEntry } from '../../posix/file-entry.ts';
import type { Overwrite } from '../../posix/target-directory.ts';
import type { OpenSnapshot } from '../open-snapshot.ts';
import type { Selection } from './selection.ts';
import { wantedEntries } from './wanted-entries.ts';

export interface PreviewOptions {
  readonly target: string;
  readonly selection: Selection;
  readonly overwrite: Overwrite;
}

export type Intention = 'make' | 'replace' | 'keep';

export interface PreviewSummary {
  readonly made: number;
  readonly replaced: number;
  readonly kept: number;
  /** Bytes of content that would be written. */
  readonly bytes: number;
}

/**
 * What `restore` would do, entry by entry, judged by type, size and time of what is there; nothing is written and no
 * content is read. @throws as `readTree`
 */
export async function previewRestore(
  snapshot: OpenSnapshot,
  { target, selection, overwrite }: PreviewOptions,
  onEntry: (path: Buffer, what: Intention) => Promise<void>,
  signal?: AbortSignal,
): Promise<PreviewSummary> {
  const counts: Record<Intention, number> = { make: 0, replace: 0, keep: 0 };
  let bytes = 0;
  const root = Buffer.from(`${target}/`);
  for await (const entry of wantedEntries(snapshot, selection, signal)) {
    const there = lstatSync(Buffer.concat([root, entry.path]), { bigint: true, throwIfNoEntry: false });
    const what = there ? intentionFor(entry, there, overwrite) : 'make';
    counts[what]++;
    if (what !== 'keep') bytes += entry.size;
    await onEntry(entry.path, what);
  }
  return { made: counts.make, replaced: counts.replace, kept: counts.keep, bytes };
}

function intentionFor(entry: FileEntry, there: BigIntStats, overwrite: Overwrite): Intention {
  if (entry.type === 'directory' && there.isDirectory()) return 'keep';
  switch (overwrite) {
    case 'never':
      return 'keep';
    case 'always':
      return 'replace';
    case 'if-newer':
      return entry.mtimeNs > there.mtimeNs ? 'replace' : 'keep';
    case 'if-different':
      return isSame(entry, there) ? 'keep' : 'replace';
  }
}

function isSame(entry: FileEntry, there: BigIntStats): boolean {
  if (entry.type === 'hardlink') return there.nlink > 1n;
  if (there.mtimeNs !== entry.mtimeNs) return false;
  if (entry.type === 'file') return there.isFile() && there.size === BigInt(entry.size);
  return entry.type !== 'symlink' || there.isSymbolicLink();
}
