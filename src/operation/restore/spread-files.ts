import type { SalvageError } from '../../errors/salvage-error.ts';
import type { FileEntry } from '../../posix/file-entry.ts';
import type { TargetDirectory } from '../../posix/target-directory.ts';
import type { SuspendedFile, TargetFile } from '../../posix/target-file.ts';
import type { RestoreReport } from './restore-report.ts';

export type SpreadFailure = Pick<SalvageError, 'code' | 'message'>;

/** A file whose content lies in several packs: begun by the planner, written by whichever thread has a pack of it. */
export interface SpreadFile {
  readonly number: number;
  readonly entry: FileEntry;
  readonly suspended: SuspendedFile;
  /** Why it will not be whole: the first reason that was found. */
  failure: SpreadFailure | undefined;
}

/** The files that span packs and are not complete yet. */
export class SpreadFiles {
  readonly #target: TargetDirectory;
  readonly #report: RestoreReport;
  readonly #files = new Map<number, SpreadFile>();
  #begun = 0;

  constructor(target: TargetDirectory, report: RestoreReport) {
    this.#target = target;
    this.#report = report;
  }

  /** Takes over a file that was just created. */
  begin(entry: FileEntry, created: TargetFile): SpreadFile {
    const file = { number: this.#begun++, entry, suspended: created.suspend(), failure: undefined };
    this.#files.set(file.number, file);
    return file;
  }

  fail(number: number, failure: SpreadFailure): void {
    const file = this.#files.get(number);
    if (file) file.failure ??= failure;
  }

  /** All that there is of its content has been written: it comes under its name, unless a part of it is missing. */
  finish(number: number): void {
    const { entry, suspended, failure } = this.#files.get(number)!;
    this.#files.delete(number);
    try {
      const file = this.#target.resumeFile(entry, suspended);
      if (failure) {
        file.abandon();
        this.#report.loseBecause(entry.path, failure);
      } else {
        file.finish();
        this.#report.count('files', 'made');
        this.#report.progress(0, 1);
      }
    } catch (error) {
      this.#report.lose(entry.path, error);
    }
  }
}
