import { lstatSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCodes, Refusal } from '../../storage/serve/messages.ts';

/** More than a repository ever has in one folder: 16 million packs, a snapshot every hour for seven years. */
const mostNames = 65_536;
/** Folders whose number of names is remembered. */
const mostFolders = 4096;

/** Keeps folders small enough to be listed: a listing holds the names of one folder in memory, here and wherever it is read. */
export class FolderLimits {
  readonly #root: string;
  readonly #mostNames: number;
  readonly #counts = new Map<string, number>();

  constructor(root: string, most: number = mostNames) {
    this.#root = root;
    this.#mostNames = most;
  }

  /** Counts the names that storing this object adds. @throws Refusal if a folder would have too many */
  async admit(name: string): Promise<void> {
    let path = this.#root;
    for (const part of name.split('/')) {
      const folder = path;
      path = join(path, part);
      if (lstatSync(path, { throwIfNoEntry: false })) continue;
      const count = this.#counts.get(folder) ?? (await countNames(folder));
      if (count >= this.#mostNames)
        throw new Refusal(
          errorCodes.quota,
          `there are ${this.#mostNames} names in one folder, which is the most`,
        );
      if (this.#counts.size >= mostFolders) this.#counts.clear();
      this.#counts.set(folder, count + 1);
    }
  }
}

async function countNames(folder: string): Promise<number> {
  try {
    return (await readdir(folder)).length;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return 0;
    throw error;
  }
}
