import { limits } from '../../repository/limits.ts';
import { packTargetBytes } from '../../repository/pack/pack-writer.ts';
import { threadsWithin } from '../worker/memory-budget.ts';

export interface MemoryPlan {
  readonly threads: number;
  readonly packTargetBytes: number;
}

const mib = 1024 * 1024;
/** What a run takes whatever it does: Node, the blob table, the walk and what waits between the threads. Measured. */
const baseBytes = 180 * mib;
/** What a thread takes besides its packs: its own heap, read buffer, frame. Measured. */
const threadBytes = 32 * mib;
/** A pack on its way and what of it the garbage collector has not yet seen. */
const packShare = 1.1;

/**
 * How many threads and how large packs fit into the memory that the user allows. `packsPerThread`: packs of a thread that
 * are in memory at a time, 0 where they go to a file as they are made. @throws usage if not even one thread fits
 */
export function planMemory(
  memoryBytes: number,
  threads: number,
  repositoryBytes: number,
  packsPerThread: number,
): MemoryPlan {
  const { smallest, largest } = limits.packTarget;
  const leastPerThread = threadBytes + packsPerThread * packShare * smallest;
  const count = threadsWithin(memoryBytes, threads, { baseBytes, threadBytes: leastPerThread }, 'back up');
  const forPack =
    packsPerThread === 0
      ? largest
      : Math.floor(((memoryBytes - baseBytes) / count - threadBytes) / packShare / packsPerThread);
  const target = Math.max(smallest, Math.min(packTargetBytes(repositoryBytes), forPack));
  return { threads: count, packTargetBytes: target };
}
