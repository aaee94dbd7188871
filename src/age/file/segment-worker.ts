import { parentPort, workerData } from 'node:worker_threads';
import { SegmentWork } from './segments.ts';
import type { SegmentJob } from './segments.ts';
import { describeFailure } from '../../errors/worker-failure.ts';

const work = new SegmentWork(workerData as SegmentJob);
try {
  while (work.step());
} catch (error) {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port, not a window
  parentPort!.postMessage(describeFailure(error));
}
