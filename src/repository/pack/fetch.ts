import type { ByteRange } from '../../storage/storage.ts';

/**
 * Work that asks for byte ranges of one object and goes on with the bytes: the same code reads packs synchronously in a
 * worker thread and asynchronously from storage. What is sent back may be shorter than asked for; the work notices.
 */
export type Fetch<T> = Generator<ByteRange, T, Uint8Array>;

export function fetchSync<T>(work: Fetch<T>, read: (range: ByteRange) => Uint8Array): T {
  let step = work.next();
  while (!step.done) step = work.next(read(step.value));
  return step.value;
}

export async function fetchAsync<T>(
  work: Fetch<T>,
  read: (range: ByteRange) => Promise<Uint8Array>,
): Promise<T> {
  let step = work.next();
  while (!step.done) step = work.next(await read(step.value));
  return step.value;
}

/** Reads from bytes in memory: `fetchSync(work, fromBytes(bytes))`. */
export function fromBytes(bytes: Uint8Array): (range: ByteRange) => Uint8Array {
  return ({ offset, length }) => bytes.subarray(offset, offset + length);
}
