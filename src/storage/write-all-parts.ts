import type { FileHandle } from 'node:fs/promises';

// Linux takes at most 1024 buffers in one writev.
const partsPerWrite = 1024;

/** Writes all parts one after the other at the file's position, however little the kernel takes at a time. */
export async function writeAllParts(
  file: FileHandle,
  parts: readonly Uint8Array[],
  signal?: AbortSignal,
): Promise<void> {
  for (let start = 0; start < parts.length; start += partsPerWrite) {
    signal?.throwIfAborted();
    let rest = parts.slice(start, start + partsPerWrite);
    let left = rest.reduce((sum, part) => sum + part.length, 0);
    while (left > 0) {
      let { bytesWritten } = await file.writev(rest);
      if (bytesWritten === 0) throw new Error('the file system takes no more bytes');
      left -= bytesWritten;
      if (left === 0) break;
      let whole = 0;
      while (bytesWritten >= rest[whole]!.length) bytesWritten -= rest[whole++]!.length;
      rest = rest.slice(whole);
      rest[0] = rest[0]!.subarray(bytesWritten);
    }
  }
}
