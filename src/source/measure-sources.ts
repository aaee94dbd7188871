import { Walk, type WalkOptions } from './walk.ts';

/** What a walk is going to come upon. */
export interface SourceTotals {
  /** Content of regular files, each counted once however many names it has. */
  readonly bytes: number;
  /** All objects but directories. */
  readonly files: number;
}

/**
 * Walks the sources once without reading a file, to know what there is to do: for a progress line, since it costs a walk.
 * What cannot be read is left out in silence: the real walk names it.
 */
export function measureSources(options: Omit<WalkOptions, 'onProblem'>): SourceTotals {
  const walk = new Walk({ ...options, onProblem: () => {} });
  let bytes = 0;
  let files = 0;
  try {
    while (walk.next()) {
      if (walk.type === 'directory') continue;
      files++;
      if (walk.type === 'file') bytes += walk.status.size;
    }
  } finally {
    walk.close();
  }
  return { bytes, files };
}
