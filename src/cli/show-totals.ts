import { measureSources } from '../source/measure-sources.ts';
import type { WalkOptions } from '../source/walk.ts';
import type { Progress } from '../ui/progress.ts';

/** Tells a progress line how much there is to read. Walks the sources for it, but only if somebody is looking. */
export function showTotals(progress: Progress, sources: Omit<WalkOptions, 'onProblem'>): void {
  if (!progress.isShown) return;
  const { bytes, files } = measureSources(sources);
  progress.setTotal(bytes, files);
}
