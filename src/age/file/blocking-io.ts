import { readSync, writeSync, writevSync } from 'node:fs';

/** A descriptor that somebody has made non-blocking (Node does so to pipes) is asked again after so long, then less often. */
const firstRetryMs = 0.05;
const lastRetryMs = 5;
const sleepCell = new Int32Array(new SharedArrayBuffer(4));

/**
 * Fills `buffer` from the descriptor and returns how much there was: less than asked only at the end of the input.
 * @param position offset in a regular file; null to go on where the last read ended
 */
export function readFully(fd: number, buffer: Uint8Array, position: number | null): number {
  let filled = 0;
  while (filled < buffer.length) {
    const at = position === null ? null : position + filled;
    const read = retryWhileBusy(() => readSync(fd, buffer, filled, buffer.length - filled, at));
    if (read === 0) break;
    filled += read;
  }
  return filled;
}

/** Writes all parts one after the other, without joining them. @param position as for `readFully` */
export function writeFully(fd: number, parts: readonly Uint8Array[], position: number | null): void {
  let at = position;
  let length = 0;
  for (const part of parts) length += part.length;
  let written = retryWhileBusy(() => writevSync(fd, parts, at ?? undefined));
  if (written === length) return;
  // A full pipe or disk takes less; the rest goes part by part.
  if (at !== null) at += written;
  for (const part of parts) {
    for (let offset = Math.min(written, part.length); offset < part.length;) {
      const taken = retryWhileBusy(() => writeSync(fd, part, offset, part.length - offset, at));
      offset += taken;
      if (at !== null) at += taken;
    }
    written -= Math.min(written, part.length);
  }
}

function retryWhileBusy(call: () => number): number {
  for (let waitMs = firstRetryMs; ; waitMs = Math.min(2 * waitMs, lastRetryMs)) {
    try {
      return call();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(sleepCell, 0, 0, waitMs);
    }
  }
}
