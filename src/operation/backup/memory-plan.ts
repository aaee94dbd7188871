import { SalvageError } from '../../errors/salvage-error.ts';
import { limits } from '../../repository/limits.ts';
import { packTargetBytes } from '../../repository/pack/pack-writer.ts';

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
export const usualMemoryBytes: number = 250 * mib;
const mostUsualMemoryBytes = 1024 * mib;

/** What a run may take on a machine with so much memory if nobody says otherwise. */
export function defaultMemoryBytes(machineBytes: number): number {
  return Math.min(mostUsualMemoryBytes, Math.max(usualMemoryBytes, Math.floor(machineBytes / 64)));
}

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
  const fitting = Math.floor((memoryBytes - baseBytes) / leastPerThread);
  if (fitting < 1)
    throw new SalvageError(
      'usage',
      `Cannot back up within ${Math.floor(memoryBytes / mib)} MiB of memory: it is too little`,
      {
        hint: `Allow at least --memory ${Math.ceil((baseBytes + leastPerThread) / mib)}M.`,
      },
    );
  const count = Math.min(threads, fitting);
  const forPack =
    packsPerThread === 0
      ? largest
      : Math.floor(((memoryBytes - baseBytes) / count - threadBytes) / packShare / packsPerThread);
  const target = Math.max(smallest, Math.min(packTargetBytes(repositoryBytes), forPack));
  return { threads: count, packTargetBytes: target };
}
