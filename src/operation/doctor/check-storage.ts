import { readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { toHex } from '../../bytes/bytes.ts';
import type { Clock } from '../../clock/clock.ts';
import { randomBytes } from '../../clock/random.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { ScopedStorage } from '../../storage/scope/scoped-storage.ts';
import { largestObjectBytes, type Storage } from '../../storage/storage.ts';
import { findTransient } from '../../storage/transient-error.ts';
import { CheckFailure, storageChecks, type StorageCheck } from './storage-checks.ts';

export interface CheckStorageOptions {
  readonly storage: Storage;
  /** Another client of the same storage. */
  readonly second: Storage;
  /** Also the largest object that the format has, and a listing of more than one page. */
  readonly thorough: boolean;
  readonly clock: Clock;
  /** Told of each finding as it is made. */
  readonly onFinding?: (finding: StorageFinding) => void;
  readonly signal: AbortSignal;
}

export interface StorageFinding {
  readonly id: string;
  readonly title: string;
  readonly state:
    | 'honoured'
    | 'not honoured'
    /** It could not be found out. */
    | 'not checked'
    /** Neither good nor bad. */
    | 'yes'
    | 'no'
    | 'measured';
  /** Whether backups rest on it. */
  readonly isNeeded: boolean;
  readonly detail: string;
}

export interface StorageReport {
  readonly findings: readonly StorageFinding[];
  /** False if something that backups rest on is not honoured. */
  readonly isFit: boolean;
  readonly mayRead: boolean;
  readonly mayRemove: boolean;
  /** The prefix below which everything was tried. */
  readonly scratch: string;
  /** Objects below it that could not be removed. */
  readonly objectsLeft: number;
}

const mebibyte = 1024 * 1024;
/** S3 and its kin list a thousand names to a page. */
const moreThanAPage = 1100;
const samples = 7;
const removalsAtATime = 8;
/** More than this, and rules about time go wrong by more than they should. */
const clockToleranceMs = 5 * 60_000;

/**
 * Tries in a scratch folder of a storage what a repository needs of it, and measures what is good to know. Whatever was
 * stored is removed again, if this account may. @throws the signal's reason
 */
export async function checkStorage(options: CheckStorageOptions): Promise<StorageReport> {
  const scratch = `salvage-doctor-${toHex(randomBytes(6))}/`;
  const run = new StorageExamination(scratch, options);
  try {
    await run.examine();
  } finally {
    await run.cleanUp();
  }
  return run.report();
}

class StorageExamination {
  readonly #scratch: string;
  readonly #options: CheckStorageOptions;
  readonly #probes: ScopedStorage;
  readonly #findings: StorageFinding[] = [];
  #mayRead = false;
  #mayRemove = false;
  #objectsLeft = 0;

  constructor(scratch: string, options: CheckStorageOptions) {
    this.#scratch = scratch;
    this.#options = options;
    this.#probes = new ScopedStorage(options.storage, `${scratch}probes/`);
  }

  async examine(): Promise<void> {
    if (!(await this.#probe())) return;
    for (const check of storageChecks) await this.#run(check);
    await this.#compareClocks();
    await this.#measure();
  }

  report(): StorageReport {
    return {
      findings: this.#findings,
      isFit: !this.#findings.some(({ state, isNeeded }) => isNeeded && state === 'not honoured'),
      mayRead: this.#mayRead,
      mayRemove: this.#mayRemove,
      scratch: this.#scratch,
      objectsLeft: this.#objectsLeft,
    };
  }

  /** What this account may do at all. False if it cannot even store an object. */
  async #probe(): Promise<boolean> {
    const { signal } = this.#options;
    const storing = await this.#attempt(async () => {
      await this.#probes.create('first', [randomBytes(32)], signal);
      await this.#probes.create('second', [randomBytes(32)], signal);
    });
    if (storing !== undefined) {
      this.#add('store', 'an object can be stored', 'not honoured', true, storing);
      return false;
    }
    const reading = await this.#attempt(() => this.#probes.read('first', undefined, signal));
    this.#mayRead = reading === undefined;
    const removing = await this.#attempt(() => this.#probes.remove('second', signal));
    this.#mayRemove = removing === undefined;
    const answer = (may: boolean): 'yes' | 'no' => (may ? 'yes' : 'no');
    this.#add('read', 'this account may read', answer(this.#mayRead), false, reading ?? '');
    this.#add(
      'remove',
      'this account may remove',
      answer(this.#mayRemove),
      false,
      this.#mayRemove
        ? 'right for a keeper; who takes a host with this account can destroy its backups'
        : 'append-only, good for a host; see to it that the server refuses overwriting, too',
    );
    return true;
  }

  async #run(check: StorageCheck): Promise<void> {
    const { storage, second, thorough, signal } = this.#options;
    const { id, title, isNeeded, reads } = check;
    if (reads && !this.#mayRead) {
      this.#add(id, title, 'not checked', isNeeded, 'this account may not read: check with one that may');
      return;
    }
    const scope = `${this.#scratch}${id}/`;
    const capabilities = { ...storage.capabilities, remove: this.#mayRemove };
    // What cannot be removed again is kept small.
    const bigBytes = !this.#mayRemove ? mebibyte : thorough ? largestObjectBytes : 20 * mebibyte;
    const manyObjects = !this.#mayRemove ? 20 : thorough ? moreThanAPage : 100;
    try {
      const detail = await check.run({
        storage: new ScopedStorage(storage, scope, capabilities),
        second: new ScopedStorage(second, scope, capabilities),
        bigBytes,
        manyObjects,
      });
      signal.throwIfAborted();
      this.#add(id, title, 'honoured', isNeeded, detail ?? '');
    } catch (error) {
      this.#add(id, title, 'not honoured', isNeeded, this.#explain(error));
    }
  }

  async #compareClocks(): Promise<void> {
    const { clock, signal } = this.#options;
    const title = 'storage tells when it received an object';
    const before = clock.now().getTime();
    const failure = await this.#attempt(async () => {
      await this.#probes.create('now', [], signal);
      const after = clock.now().getTime();
      const receivedAt = (await this.#probes.stat('now', signal))?.receivedAt?.getTime();
      if (receivedAt === undefined) {
        this.#add('clock', title, 'no', false, 'retention goes by the time that hosts have signed');
        return;
      }
      // File systems and servers tell whole seconds, or less.
      const differenceMs =
        receivedAt < before - 1000 ? receivedAt - before : receivedAt > after + 1000 ? receivedAt - after : 0;
      const state = Math.abs(differenceMs) > clockToleranceMs ? 'not honoured' : 'honoured';
      const seconds = Math.round(Math.abs(differenceMs) / 1000);
      const detail =
        differenceMs === 0
          ? 'its clock and ours agree'
          : `its clock is ${seconds} s ${differenceMs > 0 ? 'ahead of' : 'behind'} ours`;
      this.#add('clock', title, state, false, detail);
    });
    if (failure !== undefined) this.#add('clock', title, 'not checked', false, failure);
  }

  async #measure(): Promise<void> {
    const { clock, signal } = this.#options;
    const timed = async (work: () => Promise<unknown>): Promise<number> => {
      const start = clock.monotonicMs();
      await work();
      return clock.monotonicMs() - start;
    };
    const median = (times: number[]): number => times.toSorted((a, b) => a - b)[times.length >> 1]!;
    const sizeBytes = this.#mayRemove ? 16 * mebibyte : mebibyte;
    const rate = (ms: number): string =>
      `${(sizeBytes / mebibyte / Math.max(ms / 1000, 1e-6)).toFixed(1)} MiB/s`;
    const failure = await this.#attempt(async () => {
      const looks: number[] = [];
      const stores: number[] = [];
      for (let index = 0; index < samples; index++) {
        stores.push(await timed(() => this.#probes.create(`small-${index}`, [randomBytes(100)], signal)));
        looks.push(await timed(() => this.#probes.stat(`small-${index}`, signal)));
      }
      const latency = `${median(looks).toFixed(1)} ms to look at an object, ${median(stores).toFixed(1)} ms to store a small one`;
      this.#add('latency', 'latency', 'measured', false, latency);
      const body = [randomBytes(sizeBytes)];
      const up = await timed(() => this.#probes.create('measured', body, signal));
      const down = this.#mayRead
        ? await timed(() => this.#probes.read('measured', undefined, signal))
        : undefined;
      const throughput = `${rate(up)} up${down === undefined ? '' : `, ${rate(down)} down`}, one request at a time`;
      this.#add('throughput', 'throughput', 'measured', false, throughput);
    });
    if (failure !== undefined) this.#add('latency', 'latency', 'not checked', false, failure);
  }

  /** Also after an interruption: without the signal. */
  async cleanUp(): Promise<void> {
    const { storage } = this.#options;
    const failure = await this.#attempt(async () => {
      const names = (await Array.fromAsync(storage.list(this.#scratch))).map(({ name }) => name);
      this.#objectsLeft = names.length;
      if (!this.#mayRemove) return;
      const next = names.values();
      const remove = async (): Promise<void> => {
        for (const name of next) {
          await storage.remove(name);
          this.#objectsLeft--;
        }
      };
      await Promise.all(Array.from({ length: removalsAtATime }, remove));
      if (storage.objectsFolder !== undefined)
        await removeEmptyFolders(join(storage.objectsFolder, this.#scratch));
    });
    const title = 'what was tried is cleared up';
    const kept = `${this.#objectsLeft} small objects stay below ${this.#scratch}, for the keeper to remove`;
    if (failure !== undefined) this.#add('clean-up', title, 'not honoured', false, failure);
    else if (this.#objectsLeft > 0) this.#add('clean-up', title, 'no', false, kept);
    else this.#add('clean-up', title, 'honoured', false, '');
  }

  #add(id: string, title: string, state: StorageFinding['state'], isNeeded: boolean, detail: string): void {
    const finding = { id, title, state, isNeeded, detail };
    this.#findings.push(finding);
    this.#options.onFinding?.(finding);
  }

  /** What went wrong, or undefined. A connection that is lost for good is no answer of the storage's. */
  async #attempt(work: () => Promise<unknown>): Promise<string | undefined> {
    try {
      await work();
      return undefined;
    } catch (error) {
      return this.#explain(error);
    }
  }

  #explain(error: unknown): string {
    this.#options.signal.throwIfAborted();
    if (error instanceof CheckFailure) return error.message;
    if (error instanceof SalvageError && !findTransient(error)) return error.message;
    throw error;
  }
}

async function removeEmptyFolders(folder: string): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const folders = entries
    .filter((entry) => entry.isDirectory())
    .map(({ parentPath, name }) => join(parentPath, name));
  // The deepest first; one that is not empty is somebody else's.
  for (const each of [...folders.sort((a, b) => b.length - a.length), folder])
    await rmdir(each).catch(() => undefined);
}
