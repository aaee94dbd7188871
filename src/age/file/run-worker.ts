import { startWorker } from '../../bundle/start-worker.ts';
import { reviveFailure } from '../../errors/worker-failure.ts';
import type { WorkerFailure } from '../../errors/worker-failure.ts';

/**
 * Runs a module as a worker until it ends by itself. A message from it is its failure.
 * @throws that failure; the reason of the signal, at once, while the worker ends as soon as its system call lets it
 */
export async function runWorker(module: URL, workerData: unknown, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  // Streams of its own, unused: to share ours, Node would open them, and that makes our pipes non-blocking.
  const worker = startWorker(module, { workerData });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const abort = (): void => {
    worker.unref();
    void worker.terminate();
    reject(signal!.reason as Error);
  };
  worker.on('message', (failure: WorkerFailure) => reject(reviveFailure(failure)));
  worker.on('error', reject);
  worker.on('exit', () => resolve());
  signal?.addEventListener('abort', abort, { once: true });
  try {
    await promise;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}
