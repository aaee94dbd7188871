import { parentPort, workerData } from 'node:worker_threads';
import { bcryptBlock } from './bcrypt-hash.ts';

/** What bcrypt-pbkdf.ts hands to one worker; the answer is the block's 32 bytes. */
export interface BcryptJob {
  readonly passphrase: Uint8Array;
  readonly salt: Uint8Array;
  readonly rounds: number;
  readonly number: number;
}

const job = workerData as BcryptJob;
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker's port, not a window
parentPort!.postMessage(bcryptBlock(job.passphrase, job.salt, job.rounds, job.number));
