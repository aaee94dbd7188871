import { threadsWithin } from '../worker/memory-budget.ts';

export interface RestoreMemoryPlan {
  readonly threads: number;
  /** A pack up to this size may be read as a whole; of a larger one, frame by frame. */
  readonly wholePackBytes: number;
}

const mib = 1024 * 1024;
/** What a run takes whatever it does, and what a thread takes besides its pack: heap, frames in the making. Measured. */
const needs = { baseBytes: 132 * mib, threadBytes: 26 * mib };

/** How many threads, and how large pieces, fit into the memory that the user allows. @throws usage if not even one thread fits */
export function planRestoreMemory(memoryBytes: number, threads: number): RestoreMemoryPlan {
  const count = threadsWithin(memoryBytes, threads, needs, 'restore');
  return {
    threads: count,
    wholePackBytes: Math.floor((memoryBytes - needs.baseBytes) / count - needs.threadBytes),
  };
}
