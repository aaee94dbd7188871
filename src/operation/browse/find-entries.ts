import type { FileEntry, FileType } from '../../posix/file-entry.ts';
import type { SnapshotId } from '../../repository/ids.ts';
import type { OpenSnapshot } from '../open-snapshot.ts';
import { compileGlob } from './glob.ts';

export interface Criteria {
  /** Globs: the last part of the path matches one of them. */
  readonly names?: readonly string[];
  /** Globs: the whole stored path matches one of them; `*` does not cross a slash, `**` does. */
  readonly paths?: readonly string[];
  readonly types?: readonly FileType[];
  readonly smallestBytes?: number;
  readonly largestBytes?: number;
  /** By the time of its last change. */
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** One state of one path, and the snapshots that have it. */
export interface FoundEntry {
  readonly entry: FileEntry;
  /** In order of snapshots. */
  readonly snapshots: SnapshotId[];
}

/**
 * Looks through snapshots for entries that meet all criteria. A segment that snapshots share is looked through once. What
 * is found is held in memory, the rest is not.
 */
export class EntryFinder {
  readonly #accepts: (entry: FileEntry) => boolean;
  /** By segment: what was found in it. */
  readonly #segments = new Map<string, readonly FileEntry[]>();
  readonly #found = new Map<string, FoundEntry>();

  /** @throws usage for a malformed glob */
  constructor(criteria: Criteria) {
    this.#accepts = compileCriteria(criteria);
  }

  /** @throws as `readTree` */
  async search(snapshot: OpenSnapshot, signal?: AbortSignal): Promise<void> {
    const { id } = snapshot.signed;
    for await (const { segment, records } of snapshot.readTree(signal ? { signal } : {})) {
      const key = `${segment.pack}:${segment.offset}`;
      let entries = this.#segments.get(key);
      if (!entries) {
        entries = records.flatMap(({ entry }) => (entry && this.#accepts(entry) ? [entry] : []));
        this.#segments.set(key, entries);
      }
      for (const entry of entries) this.#add(entry, id);
    }
  }

  /** Everything found, by path, and of one path in the order of snapshots. */
  results(): FoundEntry[] {
    const byPath = (a: FoundEntry, b: FoundEntry): number => Buffer.compare(a.entry.path, b.entry.path);
    return [...this.#found.values()].sort(
      (a, b) => byPath(a, b) || (a.snapshots[0]! < b.snapshots[0]! ? -1 : 1),
    );
  }

  #add(entry: FileEntry, id: SnapshotId): void {
    const key = `${entry.path.toString('latin1')}\0${entry.type}\0${entry.size}\0${entry.mtimeNs}`;
    const known = this.#found.get(key);
    if (known) known.snapshots.push(id);
    else this.#found.set(key, { entry, snapshots: [id] });
  }
}

function compileCriteria(criteria: Criteria): (entry: FileEntry) => boolean {
  const { smallestBytes = 0, largestBytes = Infinity, notBefore, notAfter } = criteria;
  const names = criteria.names?.map(compileGlob);
  const paths = criteria.paths?.map(compileGlob);
  const types = criteria.types && new Set(criteria.types);
  const from = notBefore && BigInt(notBefore.getTime()) * 1_000_000n;
  const until = notAfter && BigInt(notAfter.getTime()) * 1_000_000n;
  return ({ path, type, size, mtimeNs }) => {
    if (types && !types.has(type)) return false;
    if (size < smallestBytes || size > largestBytes) return false;
    if ((from !== undefined && mtimeNs < from) || (until !== undefined && mtimeNs > until)) return false;
    if (!names && !paths) return true;
    const text = path.toString();
    if (names && !names.some((glob) => glob.test(text.slice(text.lastIndexOf('/') + 1)))) return false;
    return !paths || paths.some((glob) => glob.test(text));
  };
}
