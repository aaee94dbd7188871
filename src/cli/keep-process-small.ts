import { setFlagsFromString } from 'node:v8';
import { returnFreedMemory } from '../posix/system-calls.ts';

/** How often freed memory is given back: now and then costs next to nothing, at every buffer a third of the speed. */
const intervalMs = 250;
let isKept = false;

/** Memory that stands by unused is worth nothing on a server that has other things to do. Before any worker starts. */
export function keepProcessSmall(): void {
  if (isKept) return;
  isKept = true;
  // The young generation may stay as it is at the start: what is large is outside the heap.
  setFlagsFromString('--semi-space-growth-factor=1');
  setInterval(returnFreedMemory, intervalMs).unref();
}
