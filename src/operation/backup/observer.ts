import type { SourceProblem } from '../../source/source-problem.ts';

/** What a backup tells while it runs. */
export interface BackupObserver {
  /** Something could not be read as it is. The run goes on. */
  onProblem(problem: SourceProblem): void;
  /** Content was dealt with: read, or known to be unchanged. */
  onProgress(bytes: number, files: number): void;
  /** Something that a user may want to know: the cache was lost, an index object is not to be trusted. */
  onNotice(message: string): void;
}

/** Files are all objects but directories. */
export interface BackupCounts {
  filesNew: number;
  filesChanged: number;
  filesUnchanged: number;
  directories: number;
  /** Of all files in the snapshot. */
  contentBytes: number;
  bytesRead: number;
  /** Content bytes that were not stored before. */
  bytesNew: number;
  problems: number;
}

export function noCounts(): BackupCounts {
  return {
    filesNew: 0,
    filesChanged: 0,
    filesUnchanged: 0,
    directories: 0,
    contentBytes: 0,
    bytesRead: 0,
    bytesNew: 0,
    problems: 0,
  };
}
