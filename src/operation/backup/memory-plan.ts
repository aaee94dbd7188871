import { SalvageError } from '../../errors/salvage-error.ts';
import { limits } from '../../repository/limits.ts';
import { packTargetBytes } from '../../repository/pack/pack-writer.ts';

export interface MemoryPlan {
  readonly threads: number;
  readonly packTargetBytes: number;
}

const mib = 1024 * 1024;
/** What a run takes whatever it does: Node, the blob table, what waits between the threads. */
const baseBytes = 120 * mib;
/** What a thread takes besides its packs: its own heap, read buffer, frame. */
const threadBytes = 28 * mib;
/** A pack that is being filled and what of it the garbage collector has not yet seen. */
const packShare = 1.5;
export const usualMemoryBytes: number = 250 * mib;

/** How many threads and how large packs fit into the memory that the user allows. @throws usage if not even one does */
export function planMemory(
  memoryBytes: number,
  threads: number,
  repositoryBytes: number,
  packsPerThread: number,
): MemoryPlan {
  const forPacks = (count: number): number => (memoryBytes - baseBytes - count * threadBytes) / count;
  let count = threads;
  const least = limits.packTarget.smallest * packShare;
  while (count > 1 && forPacks(count) < least) count--;
  if (forPacks(count) < least)
    throw new SalvageError(
      'usage',
      `Cannot back up within ${Math.floor(memoryBytes / mib)} MiB of memory: it is too little`,
      {
        hint: `Allow at least --memory ${Math.ceil((baseBytes + threadBytes + least) / mib)}M.`,
      },
    );
  const largest = Math.floor(forPacks(count) / packShare / packsPerThread);
  const target = Math.max(limits.packTarget.smallest, Math.min(packTargetBytes(repositoryBytes), largest));
  return { threads: count, packTargetBytes: target };
}
