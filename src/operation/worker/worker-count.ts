import { availableParallelism } from 'node:os';
import type { Storage } from '../../storage/storage.ts';

/** Requests to a remote storage overlap by having more threads than processors: they sleep most of the time. */
const remoteThreads = 6;

/** As many threads as there is use for when they read objects, or as were asked for. */
export function workerCount(storage: Storage, asked?: number): number {
  if (asked !== undefined) return asked;
  const processors = availableParallelism();
  return storage.objectsFolder === undefined ? Math.max(remoteThreads, processors) : processors;
}
