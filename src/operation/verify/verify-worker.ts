// Thread of `verify`: gets jobs, answers each when it is done, in order.
import { parentPort, workerData } from 'node:worker_threads';
import { ObjectReader } from '../worker/object-reader.ts';
import type { PoolWorkerData } from '../worker/worker-pool.ts';
import { ObjectVerifier } from './object-verifier.ts';
import type { VerifyJob } from './verify-messages.ts';

const { objects } = workerData as PoolWorkerData<undefined>;
const verifier = new ObjectVerifier(new ObjectReader(objects));

parentPort!.on('message', (job: VerifyJob) => {
  parentPort!.postMessage(verifier.run(job), []);
});
