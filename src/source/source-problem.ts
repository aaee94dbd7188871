import { errorCode, stateOf } from '../posix/system-call-error.ts';

/** What kept part of the sources from being read as they are. */
export type SourceProblemKind =
  /** It cannot be opened or read: permissions, a failing disk. */
  | 'unreadable'
  /** It was there when the directory was listed and is gone now. */
  | 'vanished'
  /** Its content changed while it was read: what was kept is a mixture. */
  | 'changed'
  /** It is a thing that cannot be kept. */
  | 'skipped';

/** Something that a run could not read. Named to the user and counted; the run goes on. */
export interface SourceProblem {
  /** The path as it is stored, or would be. Bytes, maybe not UTF-8. */
  readonly path: Buffer;
  readonly what: SourceProblemKind;
  /** The present state, for a person: "permission denied", "it shrank from 10 to 5 bytes". */
  readonly message: string;
  readonly cause?: unknown;
}

export type ReportSourceProblem = (problem: SourceProblem) => void;

const gone = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ESTALE']);

/** The problem that a failed system call means. */
export function problemOf(path: Buffer, cause: unknown): SourceProblem {
  return {
    path,
    what: gone.has(errorCode(cause)) ? 'vanished' : 'unreadable',
    message: stateOf(cause),
    cause,
  };
}
