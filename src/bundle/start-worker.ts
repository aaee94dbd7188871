import { Worker, type WorkerOptions } from 'node:worker_threads';
import { isSea } from 'node:sea';
import { assetPath, isBundled, readAsset } from './read-asset.ts';

/**
 * Starts a worker thread: `startWorker(new URL('./x-worker.ts', import.meta.url), options)`. All threads start here, because
 * in a bundle their code is an asset.
 */
export function startWorker(module: URL, options: WorkerOptions): Worker {
  if (!isBundled) return new Worker(module, options);
  if (!isSea()) return new Worker(assetPath(module), options);
  return new Worker(Buffer.from(readAsset(module)).toString(), { ...options, eval: true });
}
