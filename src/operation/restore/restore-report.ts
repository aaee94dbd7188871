import { SalvageError, type ErrorCode } from '../../errors/salvage-error.ts';
import { errorCode } from '../../posix/system-call-error.ts';
import type { Outcome } from '../../posix/target-directory.ts';
import { showPath } from '../../posix/target-path.ts';
import { isObjectTrouble } from './object-trouble.ts';
import type { LostSegment } from '../open-snapshot.ts';

/** An object of the file system that could not be restored. */
export interface LostEntry {
  readonly path: Buffer;
  readonly code: ErrorCode;
  /** A whole sentence that names it. */
  readonly message: string;
}

/** Restored, but not in every respect as it was. */
export interface RestoreProblem {
  readonly path: Buffer;
  readonly what: string;
  readonly message: string;
}

/** Told of what happens; nothing here decides anything. */
export interface RestoreObserver {
  /** Not restored: the run goes on with everything else. */
  onLost(lost: LostEntry): void;
  onProblem(problem: RestoreProblem): void;
  /** A pack is damaged, whether or not all that was needed could be taken from it. */
  onDamage(message: string): void;
  onProgress(bytes: number, files: number): void;
}

export interface RestoreSummary {
  /** Regular files written. */
  files: number;
  directories: number;
  /** Symbolic links, hard links, devices and the like. */
  others: number;
  /** Bytes of content written. */
  bytes: number;
  /** Left as they were, because they are right or the overwrite policy says so. */
  kept: number;
  /** Not restored. */
  lost: number;
  /** Restored, but with an owner, attribute or time that could not be set. */
  problems: number;
  /** Damaged packs come upon. */
  damagedPacks: number;
  /** Files read again and found right. */
  checked: number;
}

/** After these nothing more can be written. */
const fatalCodes = ['ENOSPC', 'EDQUOT', 'EROFS'];

/** Counts what a restore has done, and tells its observer of what it could not do. */
export class RestoreReport {
  readonly summary: RestoreSummary = {
    files: 0,
    directories: 0,
    others: 0,
    bytes: 0,
    kept: 0,
    lost: 0,
    problems: 0,
    damagedPacks: 0,
    checked: 0,
  };
  readonly #observer: RestoreObserver;
  readonly #lostPaths: Set<string> | undefined;

  /** With `remembersLost` it can tell of every path whether it is lost. */
  constructor(observer: RestoreObserver, remembersLost: boolean) {
    this.#observer = observer;
    this.#lostPaths = remembersLost ? new Set() : undefined;
  }

  /** Something of this kind was made, or kept. */
  count(kind: 'files' | 'others', outcome: Outcome): void {
    this.summary[outcome === 'kept' ? 'kept' : kind]++;
  }

  progress(bytes: number, files: number): void {
    this.#observer.onProgress(bytes, files);
  }

  damage(message: string): void {
    this.summary.damagedPacks++;
    this.#observer.onDamage(message);
  }

  problem(problem: RestoreProblem): void {
    this.summary.problems++;
    this.#observer.onProblem(problem);
  }

  /** The entry is lost by this error. @throws the error if it is a bug, or nothing more can be written */
  lose(path: Buffer, error: unknown): void {
    if (!(error instanceof SalvageError)) throw error;
    this.loseBecause(path, error);
    if (fatalCodes.includes(errorCode(error.cause))) throw error;
  }

  loseBecause(path: Buffer, { code, message }: Pick<SalvageError, 'code' | 'message'>): void {
    this.summary.lost++;
    this.#lostPaths?.add(path.toString('latin1'));
    const shown = showPath(path);
    const isNamed = message.includes(`"${shown}"`);
    const sentence = isNamed ? message : `Cannot restore "${shown}": ${message.replace(/^Cannot/, 'cannot')}`;
    this.#observer.onLost({ path, code, message: sentence });
  }

  /** A stretch of the tree is lost. @throws its error unless it is trouble with one object */
  loseSegment({ first, next, error }: LostSegment): void {
    if (!isObjectTrouble(error)) throw error;
    const until = next ? `to before "${next.toString()}"` : 'to the end';
    const message = `Cannot restore what lies from "${first.toString()}" ${until}: ${error.message}`;
    this.loseBecause(first, { code: error.code, message });
  }

  /** Only of a report that remembers. */
  isLost(path: Buffer): boolean {
    return this.#lostPaths!.has(path.toString('latin1'));
  }
}
