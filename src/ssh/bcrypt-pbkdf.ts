import { startWorker } from '../bundle/start-worker.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import type { BcryptJob } from './bcrypt-worker.ts';

/** Some minutes of work; `ssh-keygen -a` beyond this is taken for an attack or a slip. */
export const maxBcryptRounds = 50_000;

/** bcrypt_pbkdf knows no limit; OpenSSH never takes more than two blocks of it. */
const maxOutputBytes = 64;
const blockBytes = 32;

/**
 * bcrypt_pbkdf, the key derivation of OpenSSH's private key files (openssh-portable, PROTOCOL.key and
 * openbsd-compat/bcrypt_pbkdf.c), in a worker thread; up to 64 bytes. The output blocks do not depend on each other, and
 * both are made at once: see blowfish.ts.
 * Throws bad-key for zero or absurdly many rounds before any work is done, and the signal's reason as soon as it is
 * aborted.
 */
export async function bcryptPbkdf(
  passphrase: Uint8Array,
  salt: Uint8Array,
  rounds: number,
  length: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  if (length > maxOutputBytes) throw new RangeError(`more than ${maxOutputBytes} bytes of bcrypt_pbkdf`);
  if (rounds < 1 || rounds > maxBcryptRounds)
    throw new SalvageError(
      'bad-key',
      `Cannot derive a key from the passphrase: ${rounds} bcrypt rounds are asked for, 1 to ${maxBcryptRounds} are allowed`,
      { hint: 'Give the key fewer rounds with "ssh-keygen -p -a 256 -f KEY".', details: { rounds } },
    );
  const blocks = await runWorker({ passphrase, salt, rounds }, signal);
  const blockCount = Math.ceil(length / blockBytes);
  // Bytes of the blocks alternate in the output, so that each block is needed for every part of it.
  return Uint8Array.from({ length }, (_, at) => blocks[at % blockCount]![Math.floor(at / blockCount)]!);
}

async function runWorker(job: BcryptJob, signal?: AbortSignal): Promise<readonly Uint8Array[]> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<readonly Uint8Array[]>();
  const worker = startWorker(new URL('./bcrypt-worker.ts', import.meta.url), { workerData: job });
  worker.once('message', resolve);
  worker.once('error', reject);
  worker.once('exit', () => reject(new Error('the bcrypt worker ended without an answer')));
  const onAbort = (): void => reject(signal!.reason as Error);
  signal?.addEventListener('abort', onAbort);
  try {
    return await promise;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await worker.terminate();
  }
}
