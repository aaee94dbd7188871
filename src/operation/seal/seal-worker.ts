// Thread of `seal`: gets batches, answers each with its compressed blocks, in order.
import { parentPort, workerData } from 'node:worker_threads';
import type { Compression } from '../../compression/compression.ts';
import { BatchSealer } from './batch-sealer.ts';
import type { SealRequest } from './batch.ts';

const { compression, level } = workerData as { compression: Compression; level: number };
const sealer = new BatchSealer(compression, level);

parentPort!.on('message', (request: SealRequest) => {
  if (request === 'end') {
    parentPort!.close();
    return;
  }
  const sealed = sealer.seal(request);
  parentPort!.postMessage(
    sealed,
    sealed.blocks.map((block) => block.buffer),
  );
});
