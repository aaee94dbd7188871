import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../../clock/clock.ts';
import type { SignedSnapshot, TrustedSigners } from '../reading/signed-snapshot.ts';
import { serveStorage, usualTimeouts } from '../../storage/serve/serve-connection.ts';
import { errorCodes, Refusal } from '../../storage/serve/messages.ts';
import { largestObjectBytes, type Storage } from '../../storage/storage.ts';
import { serveRights } from '../serve/serve-rights.ts';
import { ReceivingStorage, type ReceivingObserver } from './receiving-storage.ts';

export interface PullOptions {
  /** The keeper's repository. */
  readonly storage: Storage;
  /** From the program on the host. */
  readonly input: Readable;
  /** To it. */
  readonly output: Writable;
  /** Whose signatures make a snapshot; undefined: any that fit. */
  readonly trusted: TrustedSigners | undefined;
  /** Told too when the host has said hello. */
  readonly observer: ReceivingObserver & { onConnected(): void };
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface PullResult {
  readonly snapshots: readonly SignedSnapshot[];
  readonly storedBytes: number;
}

/** Logging in may need a passphrase, or a touch. */
const helloMs = 5 * 60_000;

/**
 * Serves the keeper's repository to a backup that runs on a host, append-only, until that has ended. The host encrypts and
 * signs; here every pack's digest is compared with its name, and no signature is stored that does not fit.
 * @throws bad-signature, damaged for a snapshot that was refused; failed if the host does not keep to the protocol
 */
export async function pull(options: PullOptions): Promise<PullResult> {
  const { storage, input, output, trusted, observer, clock, signal } = options;
  const snapshots: SignedSnapshot[] = [];
  let storedBytes = 0;
  const receiving = new ReceivingStorage(
    storage,
    trusted,
    {
      onNotice: (message) => observer.onNotice(message),
      onStored(bytes) {
        storedBytes += bytes;
        observer.onStored(bytes);
      },
      onSnapshot(snapshot) {
        snapshots.push(snapshot);
        observer.onSnapshot(snapshot);
      },
    },
    clock,
  );
  await serveStorage({
    input,
    output,
    async open(path) {
      if (path !== '/') throw new Refusal(errorCodes.denied, 'there is one folder only');
      observer.onConnected();
      return await Promise.resolve({
        storage: receiving,
        rights: serveRights('append-only'),
        largestObjectBytes,
        close: async () => {},
      });
    },
    timeouts: { ...usualTimeouts, hello: helloMs },
    clock,
    signal,
  });
  if (receiving.refused) throw receiving.refused;
  return { snapshots, storedBytes };
}
