import { SalvageError } from '../../errors/salvage-error.ts';
import { ExcludeRules } from '../../source/exclude-rules.ts';
import { isBelow, isTreePath } from '../../repository/tree/tree-path.ts';

export interface SelectionOptions {
  /** Stored paths, with or without a slash in front; none for everything. */
  readonly paths?: readonly (string | Uint8Array)[];
  /** Patterns as in gitignore(5): if there are any, only what one of them matches, or what is in such a directory. */
  readonly include?: readonly string[];
  /** Not what one of these matches. */
  readonly exclude?: readonly string[];
  /** Leave out so many parts at the front of every path, and what has no more parts than that. */
  readonly stripComponents?: number;
}

/** Which entries of a snapshot are wanted, and under which path they are restored. */
export class Selection {
  /** In order, none inside another; undefined for everything. */
  readonly paths: readonly Buffer[] | undefined;
  readonly #include: ExcludeRules | undefined;
  readonly #exclude: ExcludeRules | undefined;
  readonly #strip: number;

  /** @throws usage for a path that no snapshot has */
  constructor({ paths = [], include = [], exclude = [], stripComponents = 0 }: SelectionOptions) {
    this.paths = paths.length === 0 ? undefined : outermost(paths.map(storedPath));
    this.#include = include.length > 0 ? new ExcludeRules(include) : undefined;
    this.#exclude = exclude.length > 0 ? new ExcludeRules(exclude) : undefined;
    this.#strip = stripComponents;
  }

  /** Where the entry goes, or undefined if it is not wanted. Its path is one of `paths` or below one. */
  map(path: Buffer, isDirectory: boolean): Buffer | undefined {
    if (this.#include || this.#exclude) {
      const text = path.toString('latin1');
      if (this.#exclude?.excludes(text, isDirectory)) return undefined;
      if (this.#include && !this.#include.excludes(text, isDirectory)) return undefined;
    }
    return this.#strip === 0 ? path : stripped(path, this.#strip);
  }

  /** As `map`, for a path that may be anywhere in the snapshot. */
  mapAny(path: Buffer): Buffer | undefined {
    const { paths } = this;
    const isWithin = !paths || paths.some((top) => path.equals(top) || isBelow(path, top));
    return isWithin ? this.map(path, false) : undefined;
  }

  /** True if what lies at this path of the target is none of ours to delete, since the snapshot's was not wanted. */
  protects(path: Buffer, isDirectory: boolean): boolean {
    return this.map(path, isDirectory) === undefined;
  }
}

/** The path as a tree has it. @throws usage */
export function storedPath(given: string | Uint8Array): Buffer {
  const bytes = Buffer.from(given as string);
  let start = 0;
  let end = bytes.length;
  while (start < end && bytes[start] === 0x2f) start++;
  while (end > start && bytes[end - 1] === 0x2f) end--;
  const path = bytes.subarray(start, end);
  if (!isTreePath(path))
    throw new SalvageError('usage', `Cannot look for "${bytes.toString()}": no snapshot has such a path`, {
      hint: 'Give paths as "salvage ls SNAPSHOT" shows them.',
    });
  return path;
}

function outermost(paths: Buffer[]): Buffer[] {
  const kept: Buffer[] = [];
  // '/' before every other byte, as in a tree: what is inside a path follows it.
  const key = (path: Buffer): string => path.toString('latin1').replaceAll('/', '\0');
  for (const path of paths.sort((a, b) => (key(a) < key(b) ? -1 : 1))) {
    const last = kept.at(-1);
    if (!last || !(path.equals(last) || isBelow(path, last))) kept.push(path);
  }
  return kept;
}

function stripped(path: Buffer, count: number): Buffer | undefined {
  let start = 0;
  for (let done = 0; done < count; done++) {
    const slash = path.indexOf(0x2f, start);
    if (slash < 0) return undefined;
    start = slash + 1;
  }
  return path.subarray(start);
}
