import { setFlagsFromString } from 'node:v8';
import { returnFreedMemory } from '../posix/system-calls.ts';

/** Memory that stands by unused is worth nothing on a server that has other things to do. Before any worker starts. */
export function keepProcessSmall(): void {
  returnFreedMemory();
  // The young generation may stay as it is at the start: what is large is outside the heap.
  setFlagsFromString('--semi-space-growth-factor=1');
}
