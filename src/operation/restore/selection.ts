import { SalvageError } from '../../errors/salvage-error.ts';
import { ExcludeRules } from '../../source/exclude-rules.ts';
import { isBelow, isTreePath } from '../../repository/tree/tree-path.ts';
import type { OpenSnapshot } from '../open-snapshot.ts';

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

  /**
   * Tells of a path in the target whether it lies where the selection restores to and would be wanted if the snapshot had
   * it. @throws usage if a path in the target does not tell which path in the snapshot it comes from
   */
  originOf(): (path: Buffer, isDirectory: boolean) => boolean {
    const { paths } = this;
    const [only, ...more] = paths ?? [];
    if (this.#strip === 0)
      return (path, isDirectory) => {
        const isWithin = !paths || paths.some((top) => path.equals(top) || isBelow(path, top));
        return isWithin && this.map(path, isDirectory) !== undefined;
      };
    const parts = only?.toString('latin1').split('/') ?? [];
    if (!only || more.length > 0 || parts.length < this.#strip)
      throw new SalvageError(
        'usage',
        'Cannot delete with --strip-components: what is in the target has no one origin',
        {
          hint: 'Name one path of the snapshot that has at least as many parts as are left out.',
        },
      );
    const prefix = Buffer.from(`${parts.slice(0, this.#strip).join('/')}/`, 'latin1');
    return (path, isDirectory) => {
      const origin = Buffer.concat([prefix, path]);
      const isWithin = origin.equals(only) || isBelow(origin, only);
      return isWithin && this.map(origin, isDirectory) !== undefined;
    };
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

/** @throws usage for a path that the snapshot does not have */
export async function checkPathsExist(
  snapshot: OpenSnapshot,
  selection: Selection,
  signal?: AbortSignal,
): Promise<void> {
  for (const path of selection.paths ?? []) {
    let isThere = false;
    try {
      for await (const { records } of snapshot.readTree({ path, ...(signal && { signal }) })) {
        isThere = records.length > 0;
        break;
      }
    } catch (error) {
      // A damaged tree is for the restore to report, entry by entry.
      if (!(error instanceof SalvageError) || error.code !== 'damaged') throw error;
      isThere = true;
    }
    if (!isThere)
      throw new SalvageError(
        'usage',
        `Cannot find "${path.toString()}": snapshot ${snapshot.signed.id} has no such path`,
        { hint: `"salvage ls ${snapshot.signed.id}" shows what it has.` },
      );
  }
}
