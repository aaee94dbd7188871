import { readFileSync } from 'node:fs';
import ignore from 'ignore';
import type { Ignore } from 'ignore';
import { SalvageError } from '../errors/salvage-error.ts';

/** `ignore` remembers every path that it was asked about; starting anew now and then keeps memory flat. */
const askedBeforeRenewal = 20_000;

/**
 * Which paths a walk leaves out: patterns with the syntax and meaning of gitignore(5), in the order given, the last
 * that matches wins. They are matched against stored paths: `*.o` and `cache/` match at any depth, `/etc/ssl` or
 * `home/?/tmp` from the top of the tree. A directory that is left out is not entered, so nothing inside can be taken
 * back in by a `!` pattern. Case counts. A name that is not UTF-8 is matched with U+FFFD in place of its odd bytes.
 */
export class ExcludeRules {
  readonly #patterns: readonly string[];
  readonly #isEmpty: boolean;
  #ignore: Ignore;
  #asked = 0;

  constructor(patterns: readonly string[]) {
    this.#patterns = patterns;
    this.#isEmpty = patterns.every((pattern) => pattern.trim() === '' || pattern.startsWith('#'));
    this.#ignore = this.#compile();
  }

  /** Patterns of a file, one per line; blank lines and lines that begin with # count for nothing. Throws 'failed'. */
  static readPatterns(file: string): string[] {
    try {
      return readFileSync(file, 'utf8').split(/\r?\n/);
    } catch (cause) {
      const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
      throw new SalvageError(
        'failed',
        `Cannot read the exclude patterns in "${file}": ${code === 'ENOENT' ? 'no such file' : code}`,
        { cause },
      );
    }
  }

  /** True if the object at the stored path (latin1, one character per byte) is left out. */
  excludes(path: string, isDirectory: boolean): boolean {
    if (this.#isEmpty) return false;
    if (++this.#asked > askedBeforeRenewal) {
      this.#ignore = this.#compile();
      this.#asked = 0;
    }
    const text = Buffer.from(path, 'latin1').toString('utf8');
    return this.#ignore.ignores(isDirectory ? `${text}/` : text);
  }

  #compile(): Ignore {
    return ignore({ ignorecase: false }).add(this.#patterns);
  }
}
