import { SalvageError } from '../../errors/salvage-error.ts';

const mib = 1024 * 1024;
export const usualMemoryBytes: number = 250 * mib;
const mostUsualMemoryBytes = 1024 * mib;

/** What a run may take on a machine with so much memory if nobody says otherwise. */
export function defaultMemoryBytes(machineBytes: number): number {
  return Math.min(mostUsualMemoryBytes, Math.max(usualMemoryBytes, Math.floor(machineBytes / 64)));
}

/** What a process takes, as it was measured: whatever it does, and for each thread at the least. */
export interface MemoryNeeds {
  readonly baseBytes: number;
  readonly threadBytes: number;
}

/**
 * How many threads, up to `threads`, fit into the memory that the user allows. `what` begins the error's message.
 * @throws usage if not even one does
 */
export function threadsWithin(
  memoryBytes: number,
  threads: number,
  { baseBytes, threadBytes }: MemoryNeeds,
  what: string,
): number {
  const fitting = Math.floor((memoryBytes - baseBytes) / threadBytes);
  if (fitting < 1)
    throw new SalvageError(
      'usage',
      `Cannot ${what} within ${Math.floor(memoryBytes / mib)} MiB of memory: it is too little`,
      { hint: `Allow at least --memory ${Math.ceil((baseBytes + threadBytes) / mib)}M.` },
    );
  return Math.min(threads, fitting);
}
