// Thread of `seal`: answers each batch with its compressed blocks.
import { serveJobs } from '../worker/worker-thread.ts';
import { BatchSealer } from './batch-sealer.ts';
import type { Batch, SealedBatch, SealSettings } from './batch.ts';

serveJobs<SealSettings, Batch, SealedBatch>(
  ({ settings: { compression, level } }) => new BatchSealer(compression, level),
);
