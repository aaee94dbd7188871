import { parentPort, workerData } from 'node:worker_threads';
import { bcryptBlocks } from './bcrypt-hash.ts';

/** What bcrypt-pbkdf.ts hands over; the answer is what bcryptBlocks returns. */
export interface BcryptJob {
  readonly passphrase: Uint8Array;
  readonly salt: Uint8Array;
  readonly rounds: number;
}

const { passphrase, salt, rounds } = workerData as BcryptJob;
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker's port, not a window
parentPort!.postMessage(bcryptBlocks(passphrase, salt, rounds));
