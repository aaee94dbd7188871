import { closeSync, openSync, readSync } from 'node:fs';
import { equalBytes } from '../../bytes/bytes.ts';
import type { FileEntry } from '../../posix/file-entry.ts';
import { readXattrsAt } from '../../posix/extended-attributes.ts';
import { problemOf } from '../../source/source-problem.ts';
import type { ReportSourceProblem } from '../../source/source-problem.ts';
import { planRoots } from '../../source/source-roots.ts';
import { Walk } from '../../source/walk.ts';

export interface Difference {
  /** Relative to the compared directories; empty for the directories themselves. */
  readonly path: Buffer;
  /** For a person: "is missing in the copy", "has other content". */
  readonly what: string;
}

export interface TreeComparison {
  /** Objects that both trees have, equal or not. */
  readonly compared: number;
  readonly comparedBytes: number;
  readonly differences: number;
  /** The first differences, at most 20. */
  readonly examples: readonly Difference[];
}

const blockBytes = 1 << 20;
const mostExamples = 20;

/**
 * Compares two directories as somebody would who trusts neither: walks both, compares type, mode, size, mtime, link targets,
 * extended attributes and every byte of content, and for root the owners. Sockets, which no backup keeps alive, count too.
 */
export function compareTrees(original: string, copy: string, onProblem: ReportSourceProblem): TreeComparison {
  const walks = [original, copy].map((root) => new Walk({ roots: planRoots([`${root}/`]), onProblem }));
  const [left, right] = walks as [Walk, Walk];
  const blocks: [Buffer, Buffer] = [Buffer.alloc(blockBytes), Buffer.alloc(blockBytes)];
  const examples: Difference[] = [];
  let compared = 0;
  let comparedBytes = 0;
  let differences = 0;
  const differ = (path: string, what: string): void => {
    differences++;
    if (examples.length < mostExamples) examples.push({ path: Buffer.from(path, 'latin1'), what });
  };
  try {
    let hasLeft = left.next();
    let hasRight = right.next();
    const leftRoot = left.path;
    const rightRoot = right.path;
    while (hasLeft || hasRight) {
      const leftPath = relative(left.path, leftRoot);
      const rightPath = relative(right.path, rightRoot);
      const order = !hasRight ? -1 : !hasLeft ? 1 : comparePaths(leftPath, rightPath);
      if (order === 0) {
        compared++;
        comparedBytes += left.type === 'file' ? left.status.size : 0;
        const what = difference(left, right, leftRoot, rightRoot, blocks, onProblem);
        if (what !== undefined) differ(leftPath, what);
      } else if (order < 0) differ(leftPath, 'is missing in the copy');
      else differ(rightPath, 'is only in the copy');
      if (order <= 0) hasLeft = left.next();
      if (order >= 0) hasRight = right.next();
    }
  } finally {
    for (const walk of walks) walk.close();
  }
  return { compared, comparedBytes, differences, examples };
}

/** Depth-first order: component by component, in byte order. A slash sorts before every byte that a name can have. */
function comparePaths(a: string, b: string): number {
  const left = a.replaceAll('/', '\0');
  const right = b.replaceAll('/', '\0');
  return left < right ? -1 : left > right ? 1 : 0;
}

function relative(path: string, root: string): string {
  return path === root ? '' : root === '.' ? path : path.slice(root.length + 1);
}

function difference(
  left: Walk,
  right: Walk,
  leftRoot: string,
  rightRoot: string,
  blocks: [Buffer, Buffer],
  onProblem: ReportSourceProblem,
): string | undefined {
  if (left.type !== right.type) return `is a ${right.type} in place of a ${left.type}`;
  const a = left.entry();
  const b = right.entry();
  if (!a || !b) return 'could not be read';
  if (a.type === 'hardlink')
    return relative(latin1(a.target), leftRoot) === relative(latin1(b.target), rightRoot)
      ? undefined
      : 'is linked to another file';
  const what = metadataDifference(a, b);
  if (what !== undefined || a.type !== 'file') return what;
  try {
    if (
      !sameXattrs(
        readXattrsAt(Buffer.from(left.realPath, 'latin1'), false),
        readXattrsAt(Buffer.from(right.realPath, 'latin1'), false),
      )
    )
      return 'has other extended attributes';
    return sameContent(left.realPath, right.realPath, blocks) ? undefined : 'has other content';
  } catch (error) {
    onProblem(problemOf(a.path, error));
    return 'could not be read';
  }
}

function metadataDifference(a: FileEntry, b: FileEntry): string | undefined {
  if (a.size !== b.size) return `has ${b.size} bytes in place of ${a.size}`;
  if (a.mode !== b.mode) return `has mode ${b.mode.toString(8)} in place of ${a.mode.toString(8)}`;
  if (a.mtimeNs !== b.mtimeNs) return 'has another modification time';
  if (process.getuid?.() === 0 && (a.uid !== b.uid || a.gid !== b.gid)) return 'has another owner';
  if (latin1(a.target) !== latin1(b.target)) return 'points elsewhere';
  if (a.device?.join() !== b.device?.join()) return 'is another device';
  if (!sameXattrs(a.xattrs, b.xattrs)) return 'has other extended attributes';
  return undefined;
}

function sameXattrs(a: FileEntry['xattrs'], b: FileEntry['xattrs']): boolean {
  if ((a?.size ?? 0) !== (b?.size ?? 0)) return false;
  for (const [name, value] of a ?? []) {
    const other = b?.get(name);
    if (!other || !equalBytes(value, other)) return false;
  }
  return true;
}

function sameContent(left: string, right: string, [a, b]: [Buffer, Buffer]): boolean {
  const files = [left, right].map((path) => openSync(Buffer.from(path, 'latin1'), 'r')) as [number, number];
  try {
    for (let offset = 0; ;) {
      const length = readSync(files[0], a, 0, blockBytes, offset);
      if (readSync(files[1], b, 0, blockBytes, offset) !== length) return false;
      if (length === 0) return true;
      if (!a.subarray(0, length).equals(b.subarray(0, length))) return false;
      offset += length;
    }
  } finally {
    for (const fd of files) closeSync(fd);
  }
}

const latin1 = (bytes: Buffer | undefined): string => bytes?.toString('latin1') ?? '';
