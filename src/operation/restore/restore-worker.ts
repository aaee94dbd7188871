// Thread of `restore`: gets jobs, answers each when it is done, in order.
import { parentPort, workerData } from 'node:worker_threads';
import { ObjectReader } from '../worker/object-reader.ts';
import type { PoolWorkerData } from '../worker/worker-pool.ts';
import { PackRestorer } from './pack-restorer.ts';
import type { RestoreJob, RestoreSettings } from './restore-messages.ts';

const { objects, settings } = workerData as PoolWorkerData<RestoreSettings>;
const restorer = new PackRestorer(new ObjectReader(objects), settings);

parentPort!.on('message', (job: RestoreJob) => {
  parentPort!.postMessage(restorer.run(job), []);
});
