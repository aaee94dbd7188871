import { hash } from 'node:crypto';
import type { FileEntry } from '../../posix/file-entry.ts';
import { compareTreePaths } from '../../repository/tree/tree-path.ts';
import { countRanges, rangeDigest, type ContentRanges } from '../../repository/tree/content-ranges.ts';
import type { OpenSnapshot } from '../open-snapshot.ts';

/** An entry with what tells its content; undefined where that is not known. */
export interface ComparableEntry {
  readonly entry: FileEntry;
  /** The digests of its blobs, or their number and the first and last where there are very many. */
  readonly content: string | undefined;
}

export type Change =
  | 'added'
  | 'removed'
  /** Another type of object. */
  | 'type'
  /** Content, target or device. */
  | 'content'
  /** Only owner, mode, time or attributes. */
  | 'metadata';

export interface Difference {
  readonly path: Buffer;
  readonly change: Change;
  readonly before: FileEntry | undefined;
  readonly after: FileEntry | undefined;
}

/** The differences between two trees that come in tree order, in constant memory. */
export async function* diffTrees(
  before: AsyncIterable<ComparableEntry>,
  after: AsyncIterable<ComparableEntry>,
): AsyncGenerator<Difference> {
  const left = before[Symbol.asyncIterator]();
  const right = after[Symbol.asyncIterator]();
  let a = await left.next();
  let b = await right.next();
  while (!a.done || !b.done) {
    const order = a.done ? 1 : b.done ? -1 : compareTreePaths(a.value.entry.path, b.value.entry.path);
    if (order < 0) {
      const { entry } = a.value!;
      yield { path: entry.path, change: 'removed', before: entry, after: undefined };
      a = await left.next();
    } else if (order > 0) {
      const { entry } = b.value!;
      yield { path: entry.path, change: 'added', before: undefined, after: entry };
      b = await right.next();
    } else {
      const change = compareEntries(a.value!, b.value!);
      if (change) yield { path: a.value!.entry.path, change, before: a.value!.entry, after: b.value!.entry };
      a = await left.next();
      b = await right.next();
    }
  }
}

/** The entries of a snapshot, or of the part at and below a path, with their content. @throws as `readTree` */
export async function* comparableEntries(
  snapshot: OpenSnapshot,
  path?: Buffer,
  signal?: AbortSignal,
): AsyncGenerator<ComparableEntry> {
  let current: { readonly entry: FileEntry; content: string } | undefined;
  for await (const { records } of snapshot.readTree({ ...(path && { path }), ...(signal && { signal }) }))
    for (const { entry, ranges } of records) {
      if (entry) {
        if (current) yield current;
        current = { entry, content: contentOf(ranges) };
      } else if (current) current.content = mix(current.content, contentOf(ranges));
    }
  if (current) yield current;
}

const digestsKept = 64;

function contentOf(ranges: ContentRanges): string {
  let text = '';
  for (let index = 0; index < countRanges(ranges); index++)
    text = mix(text, rangeDigest(ranges, index).toString('base64url'));
  return text;
}

/** Grows up to a bound, then is folded: files of a terabyte have a million blobs. */
function mix(known: string, more: string): string {
  const joined = known + more;
  return joined.length <= digestsKept * 43 ? joined : fold(joined);
}

function fold(text: string): string {
  return hash('sha256', text, 'base64url');
}

function compareEntries(a: ComparableEntry, b: ComparableEntry): Change | undefined {
  const [x, y] = [a.entry, b.entry];
  if (x.type !== y.type) return 'type';
  const sameTarget =
    x.target === undefined ? y.target === undefined : y.target !== undefined && x.target.equals(y.target);
  if (!sameTarget || x.device?.join() !== y.device?.join() || x.size !== y.size) return 'content';
  if (a.content !== undefined && b.content !== undefined && a.content !== b.content) return 'content';
  const unknown = a.content === undefined || b.content === undefined;
  // Where the content was not read, another time is the sign that it may have changed.
  if (unknown && x.type === 'file' && x.mtimeNs !== y.mtimeNs) return 'content';
  const same =
    x.mode === y.mode && x.uid === y.uid && x.gid === y.gid && x.mtimeNs === y.mtimeNs && sameXattrs(x, y);
  return same ? undefined : 'metadata';
}

function sameXattrs(x: FileEntry, y: FileEntry): boolean {
  if ((x.xattrs?.size ?? 0) !== (y.xattrs?.size ?? 0)) return false;
  for (const [name, value] of x.xattrs ?? []) if (!y.xattrs?.get(name)?.equals(value)) return false;
  return true;
}
