import { SalvageError } from '../errors/salvage-error.ts';
import type { FileEntry } from './file-entry.ts';
import { stateOf } from './system-call-error.ts';
import { showPath } from './target-path.ts';
import { writeFully } from './write-fully.ts';

/** Where a file stands that another worker, or the same later, takes up again. Passes between threads. */
export interface SuspendedFile {
  readonly identity: string;
  readonly isTemporary: boolean;
}

/** The end of a file in the making; its TargetDirectory. */
export interface FileKeeper {
  complete(file: TargetFile): void;
  discard(file: TargetFile): void;
  suspend(file: TargetFile): SuspendedFile;
}

/**
 * A file of the target in the making. Write what it has at its positions, leave out its holes, then call exactly one
 * of `finish`, `abandon` and `suspend`. The descriptor is the process's: other workers may write through it meanwhile.
 */
export class TargetFile {
  readonly #keeper: FileKeeper;
  readonly entry: FileEntry;
  readonly fd: number;
  readonly isTemporary: boolean;

  constructor(keeper: FileKeeper, entry: FileEntry, fd: number, isTemporary: boolean) {
    this.#keeper = keeper;
    this.entry = entry;
    this.fd = fd;
    this.isTemporary = isTemporary;
  }

  /** Throws SalvageError 'failed'; the file is still to be abandoned then. */
  write(bytes: Uint8Array, position: number): void {
    try {
      writeFully(this.fd, bytes, position);
    } catch (cause) {
      throw new SalvageError('failed', `Cannot restore "${showPath(this.entry.path)}": ${stateOf(cause)}`, {
        cause,
      });
    }
  }

  /** Gives the file its size, owner, attributes, mode, time and, if it replaces another, its name. Removes it if that fails. */
  finish(): void {
    this.#keeper.complete(this);
  }

  /** Removes what was begun; what it was to replace stays. */
  abandon(): void {
    this.#keeper.discard(this);
  }

  /** Closes the file for now; `resumeFile` takes it up again. */
  suspend(): SuspendedFile {
    return this.#keeper.suspend(this);
  }
}
