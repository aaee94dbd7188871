import { randomBytes } from '../../clock/random.ts';
import type { ObjectDigest } from '../../repository/ids.ts';
import { snapshotFileName } from '../../repository/layout.ts';
import type { Storage } from '../../storage/storage.ts';
import { findByDigest } from '../reading/find-original.ts';
import type { SignedSnapshot } from '../reading/signed-snapshot.ts';
import { workerCount } from '../worker/worker-count.ts';
import { WorkerPool } from '../worker/worker-pool.ts';
import type { NeededObjects } from './needed-objects.ts';
import type { RepositoryListing } from './repository-listing.ts';
import type { Trouble } from './trouble.ts';
import type { HashJob, OpenJob, VerifyAnswer, VerifyJob } from './verify-messages.ts';

export interface ObjectReadingOptions {
  readonly storage: Storage;
  readonly needed: NeededObjects;
  readonly threads?: number | undefined;
  readonly find: (trouble: Trouble) => void;
  readonly onProgress: (bytes: number, objects: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Has objects read by the threads of a pool, counts, and tells what is wrong with them. */
export class ObjectReading {
  readonly #options: ObjectReadingOptions;
  readonly #pool: WorkerPool<VerifyJob, VerifyAnswer>;
  readonly #answers = new Set<Promise<void>>();
  objects = 0;
  bytes = 0;
  /** Blobs whose own SHA-256 was compared. */
  blobs = 0;

  constructor(options: ObjectReadingOptions) {
    const { storage, threads, signal } = options;
    this.#options = options;
    this.#pool = new WorkerPool({
      module: new URL('./verify-worker.ts', import.meta.url),
      threads: workerCount(storage, threads),
      settings: undefined,
      storage,
      ...(signal && { signal }),
    });
  }

  /** Hashes an object and compares. Returns when a thread has it; `done` when its answer has been taken. */
  async hash(name: string, digest: ObjectDigest): Promise<{ readonly done: Promise<void> }> {
    const job: HashJob = { kind: 'hash', name, digest };
    return await this.#run(name, job);
  }

  /** As `hash`, of a pack that is opened as well. */
  async open(job: OpenJob): Promise<void> {
    await this.#run(job.object.name, job, [job.blobs.buffer]);
  }

  /** When all answers have been taken. */
  async settle(): Promise<void> {
    await Promise.all(this.#answers);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
  }

  async #run(
    name: string,
    job: VerifyJob,
    transfer?: readonly ArrayBuffer[],
  ): Promise<{ readonly done: Promise<void> }> {
    await this.#pool.ready();
    const done = this.#take(name, job.digest, this.#pool.run(job, transfer)).finally(() =>
      this.#answers.delete(done),
    );
    done.catch(() => {});
    this.#answers.add(done);
    return { done };
  }

  async #take(name: string, digest: ObjectDigest, answer: Promise<VerifyAnswer>): Promise<void> {
    const { storage, needed, find, onProgress, signal } = this.#options;
    const { bytes, blobs, troubles } = await answer;
    this.bytes += bytes;
    this.blobs += blobs;
    if (bytes > 0) this.objects++;
    if (troubles.length > 0) {
      needed.markBad(name);
      const isFound = await findByDigest(storage, name, digest, signal);
      for (const { kind, message, found } of isFound ? [] : troubles) {
        const other = found && needed.nameOf(found);
        find(
          other
            ? { kind: 'swapped-object', message: `"${name}" holds what belongs to "${other}".`, object: name }
            : { kind, message, object: name },
        );
      }
    }
    onProgress(bytes, 1);
  }
}

/** The roots of the snapshots that are to be read: all that were not rewrapped and removed since. */
export function rootsToRead(
  signed: readonly SignedSnapshot[],
  { snapshotFiles }: RepositoryListing,
  { rewrapped }: NeededObjects,
): { readonly name: string; readonly digest: ObjectDigest }[] {
  return signed
    .filter(
      ({ id, checksums }) =>
        snapshotFiles.get(id)?.has('root.age') !== false || !rewrapped.has(checksums.root),
    )
    .map(({ id, checksums }) => ({ name: snapshotFileName(id, 'root.age'), digest: checksums.root }));
}

/** Each object with the probability `share`; another choice every time, so that after some runs everything was read. */
export function chooseSample(names: Iterable<string>, share: number): Set<string> {
  const all = [...names];
  if (share >= 1) return new Set(all);
  if (share <= 0) return new Set();
  const random = randomBytes(4 * all.length);
  const view = new DataView(random.buffer);
  const chosen = all.filter((_, index) => view.getUint32(4 * index, true) < share * 2 ** 32);
  return new Set(chosen.length === 0 ? all.slice(0, 1) : chosen);
}
