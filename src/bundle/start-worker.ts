import { Worker, type WorkerOptions } from 'node:worker_threads';
import { isSea } from 'node:sea';
import { assetPath, isBundled, readAsset } from './read-asset.ts';

/**
 * Starts a worker thread whose code is the module at a URL made from `import.meta.url`. All threads start here, because in a
 * bundle their code is an asset.
 */
export function startWorker(module: URL, options: WorkerOptions): Worker {
  // Else Node hands our own standard output and error to the thread and makes them non-blocking where they are pipes.
  const all: WorkerOptions = { ...options, stdout: true, stderr: true };
  if (!isBundled) return new Worker(module, all);
  if (!isSea()) return new Worker(assetPath(module), all);
  return new Worker(Buffer.from(readAsset(module)).toString(), { ...all, eval: true });
}
