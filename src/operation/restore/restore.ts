import { opendirSync } from 'node:fs';
import { TargetDirectory, type Overwrite } from '../../posix/target-directory.ts';
import type { FileEntry } from '../../posix/file-entry.ts';
import type { Storage } from '../../storage/storage.ts';
import type { LostSegment, OpenSnapshot } from '../open-snapshot.ts';
import type { SealedObjects } from '../reading/sealed-objects.ts';
import { usualMemoryBytes } from '../worker/memory-budget.ts';
import { workerCount } from '../worker/worker-count.ts';
import { WorkerPool } from '../worker/worker-pool.ts';
import { PackDispatcher } from './pack-dispatcher.ts';
import type { RestoreAnswer, RestoreJob, RestoreSettings, TargetSettings } from './restore-messages.ts';
import { RestorePlan, type OrphanedLinks } from './restore-plan.ts';
import {
  RestoreReport,
  type RestoreObserver,
  type RestoreProblem,
  type RestoreSummary,
} from './restore-report.ts';
import type { RestoreWindow } from './restore-window.ts';
import type { Selection } from './selection.ts';
import { SpreadFiles } from './spread-files.ts';
import { planRestoreMemory } from './restore-memory.ts';

export interface RestoreOptions {
  readonly target: string;
  readonly selection: Selection;
  /** Default 'if-different', which also takes up an interrupted restore where it was. */
  readonly overwrite?: Overwrite;
  readonly numericIds?: boolean;
  /** Default: as root. */
  readonly owners?: boolean;
  readonly allowDevices?: boolean;
  /** Read again what was written, and compare. */
  readonly check?: boolean;
  /** What the whole process may take. Default: `usualMemoryBytes`. */
  readonly memoryBytes?: number;
  /** At most so many, as far as the memory allows. */
  readonly threads?: number;
}

/**
 * Restores the wanted part of a snapshot below the target. Everything that can be restored is; what cannot is told to the
 * observer, entry by entry. @throws failed if the target cannot be written at all; interrupted; what an identity throws
 */
export async function restore(
  storage: Storage,
  snapshot: OpenSnapshot,
  objects: SealedObjects,
  options: RestoreOptions,
  observer: RestoreObserver,
  signal?: AbortSignal,
): Promise<RestoreSummary> {
  await using run = new RestoreRun(storage, snapshot, objects, options, observer, signal);
  return await run.run();
}

/** Windows are planned, dispatched, settled; the next one is planned while this one is dispatched. */
class RestoreRun {
  readonly #snapshot: OpenSnapshot;
  readonly #selection: Selection;
  readonly #overwrite: Overwrite;
  readonly #signal: AbortSignal | undefined;
  readonly #report: RestoreReport;
  readonly #target: TargetDirectory;
  /** Gives directories their times when all that is in them is complete. */
  readonly #settler: TargetDirectory;
  readonly #pool: WorkerPool<RestoreJob, RestoreAnswer>;
  readonly #spreads: SpreadFiles;
  readonly #plan: RestorePlan;
  readonly #packs: PackDispatcher;
  #failure: unknown;
  #dispatched: Promise<void> = Promise.resolve();
  #settled: Promise<void> = Promise.resolve();

  constructor(
    storage: Storage,
    snapshot: OpenSnapshot,
    objects: SealedObjects,
    options: RestoreOptions,
    observer: RestoreObserver,
    signal: AbortSignal | undefined,
  ) {
    this.#snapshot = snapshot;
    this.#signal = signal;
    const {
      selection,
      target,
      overwrite = 'if-different',
      numericIds = false,
      allowDevices = false,
    } = options;
    const { owners, check = false, memoryBytes = usualMemoryBytes } = options;
    this.#selection = selection;
    this.#overwrite = overwrite;
    this.#report = new RestoreReport(observer, check);
    const targetOptions = {
      overwrite,
      numericIds,
      allowDevices,
      ...(owners !== undefined && { owners }),
      settle: 'by-caller',
      onProblem: (problem: RestoreProblem): void => this.#report.problem(problem),
    } as const;
    this.#target = TargetDirectory.open(target, targetOptions);
    const { madeSinceNs } = this.#target;
    this.#settler = TargetDirectory.open(target, { ...targetOptions, madeSinceNs });
    const shared: TargetSettings = { target, overwrite, numericIds, allowDevices, owners };
    const settings: RestoreSettings = { ...shared, madeSinceNs };
    const memory = planRestoreMemory(memoryBytes, workerCount(storage, options.threads));
    this.#pool = new WorkerPool({
      module: new URL('./restore-worker.ts', import.meta.url),
      threads: memory.threads,
      settings,
      storage,
      ...(signal && { signal }),
    });
    this.#spreads = new SpreadFiles(this.#target, this.#report);
    const shares = { target: this.#target, spreads: this.#spreads, report: this.#report };
    this.#plan = new RestorePlan({
      ...shares,
      selection,
      check,
      keepsDirectories: overwrite === 'never',
      isTargetEmpty: isEmpty(target),
    });
    this.#packs = new PackDispatcher({
      ...shares,
      snapshot,
      objects,
      pool: this.#pool,
      wholePackBytes: memory.wholePackBytes,
      isRemote: storage.objectsFolder === undefined,
      hasVersions: storage.versions !== undefined,
      ...(signal && { signal }),
    });
  }

  async run(): Promise<RestoreSummary> {
    for (const path of this.#selection.paths ?? [undefined]) {
      const reading = {
        ...(path && { path }),
        ...(this.#signal && { signal: this.#signal }),
        onLost: (lost: LostSegment) => {
          this.#report.loseSegment(lost);
          // If the lost stretch had more of this file, that is what it misses now.
          this.#plan.endFile();
        },
      };
      for await (const { records } of this.#snapshot.readTree(reading)) {
        for (const record of records) this.#plan.add(record);
        if (this.#plan.isWindowFull) await this.#flush();
      }
      this.#plan.endFile();
    }
    for (const orphans of this.#plan.orphans()) {
      await this.#planOrphans(orphans);
      if (this.#plan.isWindowFull) await this.#flush();
    }
    await this.#flush();
    await this.#dispatched;
    await this.#settled;
    return this.#report.summary;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
    await Promise.allSettled([this.#dispatched, this.#settled]);
    this.#settler.close();
    this.#target.close();
  }

  async #planOrphans(orphans: OrphanedLinks): Promise<void> {
    try {
      this.#plan.addOrphans(orphans, await this.#snapshot.find(orphans.target, this.#signal));
    } catch (error) {
      for (const { path } of orphans.links) this.#report.lose(path, error);
    }
  }

  async #flush(): Promise<void> {
    const window = this.#plan.takeWindow();
    if (this.#failure !== undefined) throw this.#failure;
    await this.#dispatched;
    this.#dispatched = this.#dispatch(window);
    this.#dispatched.catch(() => {});
  }

  async #dispatch(window: RestoreWindow): Promise<void> {
    const answers: Promise<void>[] = [];
    this.#packs.expect(window.batches.keys());
    for (const [pack, writer] of window.batches) {
      const { done } = await this.#packs.begin(pack, writer);
      // It shows at the next window, or when this one is settled.
      done.catch((error: unknown) => {
        this.#failure ??= error;
      });
      answers.push(done);
    }
    const before = this.#settled;
    this.#settled = (async () => {
      await before;
      await Promise.all(answers);
      await this.#settle(window);
    })();
    this.#settled.catch(() => {});
  }

  /** All packs of this window and of those before it are done. */
  async #settle(window: RestoreWindow): Promise<void> {
    for (const number of window.complete) this.#spreads.finish(number);
    for (const link of window.hardLinks) {
      try {
        const isKept = !this.#plan.isFresh(link.path) && this.#keepsLink(link);
        this.#report.count('others', isKept ? 'kept' : this.#target.make(link));
      } catch (error) {
        this.#report.lose(link.path, error);
      }
    }
    if (window.toCheck.files > 0) await this.#check(window);
    for (const directory of window.directories) {
      try {
        this.#settler.settleDirectory(directory);
      } catch (error) {
        const { message } = error as Error;
        this.#report.problem({ path: directory.path, what: 'owner, mode and time', message });
      }
    }
  }

  #keepsLink(link: FileEntry): boolean {
    return (
      (this.#overwrite === 'never' || this.#overwrite === 'if-newer') && this.#target.keepsExisting(link)
    );
  }

  async #check(window: RestoreWindow): Promise<void> {
    const batch = window.toCheck.finish();
    await this.#pool.ready();
    const { files, bytes, lost } = await this.#pool.run({ kind: 'check', batch }, [batch.buffer]);
    this.#report.summary.checked += files;
    this.#report.progress(bytes, 0);
    for (const file of lost) {
      const path = Buffer.from(file.path);
      // What is not there need not be told of once more.
      if (!this.#report.isLost(path)) this.#report.loseBecause(path, file);
    }
  }
}

function isEmpty(folder: string): boolean {
  using entries = opendirSync(folder);
  return entries.readSync() === null;
}
