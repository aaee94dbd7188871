import { SalvageError } from '../../errors/salvage-error.ts';
import { TargetDirectory, type TargetOptions } from '../../posix/target-directory.ts';
import type { TargetFile } from '../../posix/target-file.ts';
import type { TarEntry, TarHandler } from '../../tar/tar-reader.ts';
import type { MemberFilter } from './member-filter.ts';

/** A member that could not be restored, or not fully. */
export interface MemberProblem {
  readonly path: Buffer;
  /** For a person: what is the matter. */
  readonly message: string;
  readonly hint?: string;
  /** No honest program writes such a member. */
  readonly hostile: boolean;
}

export interface ExtractorOptions {
  readonly folder: string;
  readonly target: Omit<TargetOptions, 'onProblem'>;
  readonly filter: MemberFilter;
  readonly onProblem: (problem: MemberProblem) => void;
  /** What was restored since the last call. */
  readonly onProgress?: (contentBytes: number, files: number) => void;
}

/**
 * Restores members below a folder, which is made when the first one comes. Nothing outside is touched whatever the
 * archive says (see TargetDirectory); one bad member does not stop the rest. A file is there whole or not at all.
 */
export class Extractor implements TarHandler {
  readonly #options: ExtractorOptions;
  #target: TargetDirectory | undefined;
  #entry: TarEntry | undefined;
  #file: TargetFile | undefined;
  #contentBytes = 0;
  /** Members restored. */
  members = 0;
  /** Members that were not, because something of that name was there. */
  kept = 0;
  /** Members that were absolute in the archive and are now below the folder. */
  absolute = 0;

  constructor(options: ExtractorOptions) {
    this.#options = options;
  }

  entry(entry: TarEntry): void {
    this.#entry = undefined;
    if (!this.#options.filter.matches(entry.path)) return;
    const target = (this.#target ??= this.#openTarget());
    this.#attempt(entry, () => {
      if (entry.type === 'file') {
        this.#file = target.createFile(entry);
        if (!this.#file) return this.#keep(entry);
      } else if (target.make(entry) === 'kept' && entry.type !== 'directory') return this.#keep(entry);
      this.#entry = entry;
    });
  }

  data(bytes: Buffer, offset: number): void {
    const file = this.#file;
    if (!file) return;
    this.#attempt(file.entry, () => {
      file.write(bytes, offset);
      this.#contentBytes += bytes.length;
    });
  }

  end(): void {
    const file = this.#file;
    const entry = this.#entry;
    if (!entry) return;
    const done = this.#attempt(entry, () => {
      this.#file = undefined;
      file?.finish();
    });
    if (!done) return;
    this.members++;
    if (entry.absolute) this.absolute++;
    this.#options.onProgress?.(this.#contentBytes, file ? 1 : 0);
    this.#contentBytes = 0;
  }

  /** Settles the directories. A file that is not complete is taken away. */
  close(): void {
    this.#file?.abandon();
    this.#file = undefined;
    this.#target?.close();
    this.#target = undefined;
  }

  #openTarget(): TargetDirectory {
    const { folder, target, onProblem } = this.#options;
    return TargetDirectory.open(folder, {
      ...target,
      onProblem: ({ path, what, message }) =>
        onProblem({ path, message: `its ${what} could not be restored: ${message}`, hostile: false }),
    });
  }

  #keep({ path }: TarEntry): void {
    this.kept++;
    this.#options.onProblem({ path, message: 'it is there already and was kept', hostile: false });
  }

  /** False if it failed; then the member is given up and reported. */
  #attempt(entry: Pick<TarEntry, 'path'>, action: () => void): boolean {
    try {
      action();
      return true;
    } catch (error) {
      if (!(error instanceof SalvageError)) throw error;
      this.#file?.abandon();
      this.#file = undefined;
      this.#entry = undefined;
      this.#options.onProblem({
        path: entry.path,
        message: error.message,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
        hostile: error.code === 'damaged',
      });
      return false;
    }
  }
}
