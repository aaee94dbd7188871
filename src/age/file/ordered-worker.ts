import { parentPort, workerData } from 'node:worker_threads';
import { runOrdered } from './ordered-segments.ts';
import type { OrderedJob } from './ordered-segments.ts';
import { describeFailure } from '../../errors/worker-failure.ts';

const { job, thread } = workerData as { job: OrderedJob; thread: number };
try {
  runOrdered(job, thread);
} catch (error) {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port, not a window
  parentPort!.postMessage(describeFailure(error));
}
