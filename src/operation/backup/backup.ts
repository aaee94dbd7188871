import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createEnvelope, type Envelope } from '../../age/envelope.ts';
import { parseIdentity } from '../../age/identity-lines.ts';
import { parseRecipient } from '../../age/parse-recipient.ts';
import type { Recipient, RecipientPlugins } from '../../age/recipient.ts';
import type { Clock } from '../../clock/clock.ts';
import { fastLevel } from '../../compression/zstd-parameters.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { FileLock } from '../../posix/file-lock.ts';
import { BlobTable, shareBlobTable } from '../../repository/cache/blob-table.ts';
import type { HostConfiguration } from '../../repository/host-configuration.ts';
import type { RepositoryJson } from '../../repository/repository-json.ts';
import { newSnapshotId, type PackId, type SnapshotId } from '../../repository/ids.ts';
import { packName, readmeName, recoverName, repositoryName } from '../../repository/layout.ts';
import { snapshotGroup } from '../../repository/snapshot/snapshot-json.ts';
import type { WalkOptions } from '../../source/walk.ts';
import type { Signer } from '../../ssh/signer.ts';
import type { Storage } from '../../storage/storage.ts';
import { isMarkedMeanwhile } from '../keeper/removal-marks.ts';
import { requireObjectLock, retentionFrom } from '../lock/lock-policy.ts';
import { readRepositoryJson } from '../open-repository.ts';
import { BackupWorkers, permitsPerWorker } from './backup-workers.ts';
import { chooseMerged } from './choose-merged.ts';
import { clearLeftovers } from './clear-leftovers.ts';
import { commitSnapshot } from './commit-snapshot.ts';
import { extendLocks } from './extend-locks.ts';
import { compareHealed, type HealingOutcome } from './heal-packs.ts';
import { IndexWriter } from './index-writer.ts';
import { GatedStorage } from './gated-storage.ts';
import {
  assumeNew,
  isNew,
  readKnownRepository,
  readRemembered,
  type KnownRepository,
  type Remembered,
  type StartingPoint,
} from './known-repository.ts';
import { planMemory } from './memory-plan.ts';
import { usualMemoryBytes } from '../worker/memory-budget.ts';
import { noCounts, type BackupCounts, type BackupObserver } from './observer.ts';
import { PackStore } from './pack-store.ts';
import { readSources } from './read-sources.ts';
import { readStream, type StreamSource } from './read-stream.ts';
import { TreeDraft } from './tree-draft.ts';
import type { WorkerSetup } from './worker-messages.ts';
import { writeTree } from './write-tree.ts';

export type BackupSource =
  | {
      readonly kind: 'paths';
      /** As the user named them, absolute: for people, and for the group of the snapshot. */
      readonly paths: readonly string[];
      readonly walk: Omit<WalkOptions, 'onProblem'>;
    }
  | { readonly kind: 'stream'; readonly stream: StreamSource };

export interface BackupOptions {
  readonly storage: Storage;
  /** What `readRepositoryJson` says of the storage, if it has been asked already. */
  readonly repository?: Promise<RepositoryJson>;
  readonly host: HostConfiguration;
  readonly signer: Signer;
  /** For recipients of age plugins. */
  readonly plugins?: RecipientPlugins;
  readonly source: BackupSource;
  /** The folder of this repository in the user's cache. */
  readonly folder: string;
  /** Private: in root.age. */
  readonly tags?: readonly string[];
  /** Public: in snapshot.json. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Read everything, whatever its status says. */
  readonly force?: boolean;
  /** Decode every frame again before it is let go. */
  readonly paranoid?: boolean;
  readonly memoryBytes?: number;
  readonly threads: number;
  /** Find out what would be read, and store nothing. */
  readonly dryRun?: boolean;
  readonly observer: BackupObserver;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface BackupResult {
  /** Undefined after a dry run. */
  readonly snapshot: SnapshotId | undefined;
  readonly counts: Readonly<BackupCounts>;
  /** Bytes of packs and index objects that this run has stored. */
  readonly storedBytes: number;
  readonly packsStored: number;
  /** Undefined if nobody has asked for anything new. */
  readonly healing: HealingOutcome | undefined;
  readonly durationMs: number;
}

/**
 * Makes a snapshot (docs/design/pipeline.md). It exists when this has returned; after any failure there is none, and what
 * was stored is taken up by the next run.
 * @throws no-repository, busy, failed, bad-key, usage, interrupted
 */
export async function backup(options: BackupOptions): Promise<BackupResult> {
  const { storage, host, folder, clock, signal } = options;
  const startMs = clock.monotonicMs();
  const started = clock.now();
  const identified = identify(options);
  identified.catch(() => {});
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  using lock = FileLock.take(join(folder, 'lock'));
  if (!lock)
    throw new SalvageError(
      'busy',
      `Cannot back up to "${storage.description}": another run of this host is at it`,
      {
        hint: 'Wait until it has finished.',
      },
    );
  if (host.lock && !options.dryRun) requireObjectLock(storage).lockNew(retentionFrom(host.lock, started));
  const indexKey = parseIdentity(host.indexKey);
  const indexRecipients = (await indexKey.recipients?.()) ?? [];
  const look = async (remembered: Remembered): Promise<KnownRepository> => {
    const reading = readKnownRepository(remembered, {
      storage,
      repositoryId: host.repositoryId,
      publicKey: options.signer.publicKey,
      indexKey,
      auditors: host.auditors ?? [],
      observer: options.observer,
      now: started,
      signal,
    });
    reading.catch(() => {});
    // Whatever else is wrong there: in another repository it does not matter.
    await identified;
    if (!options.dryRun) await clearLeftovers(storage, signal);
    return await reading;
  };
  const start = async (from: StartingPoint, known: Promise<KnownRepository>): Promise<BackupResult> => {
    const counts = noCounts();
    const refused = new AbortController();
    known.catch((error: unknown) => refused.abort(error));
    const run = new BackupRun(
      { ...options, signal: AbortSignal.any([signal, refused.signal]) },
      from,
      known,
      counts,
    );
    try {
      const result = options.dryRun ? await run.try() : await run.make(started, indexRecipients);
      return { ...result, counts, durationMs: clock.monotonicMs() - startMs };
    } finally {
      from.journal.close();
    }
  };
  const attempt = async (): Promise<BackupResult> => {
    const remembered = readRemembered(folder, host.repositoryId);
    const looking = look(remembered);
    looking.catch(() => {});
    const assumed = mayAssume(options) ? assumeNew(remembered) : undefined;
    if (assumed)
      try {
        return await start(
          assumed,
          looking.then((known) => {
            if (!isNew(known)) throw new NotNew();
            return known;
          }),
        );
      } catch (error) {
        if (!(error instanceof NotNew)) throw error;
      }
    const known = await looking;
    return await start(known, Promise.resolve(known));
  };
  try {
    return await attempt();
  } catch (error) {
    // A stream is gone once it was read.
    if (!isMarkedMeanwhile(error) || options.source.kind === 'stream') throw error;
    options.observer.onNotice(
      'a keeper has marked packs for removal that this run refers to: it begins once more, and stores their content anew',
    );
    return await attempt();
  }
}

/** @throws no-repository, damaged, failed if the storage has another repository than the host is set up for */
async function identify({ storage, repository, host, signal }: BackupOptions): Promise<void> {
  const { id } = await (repository ?? readRepositoryJson(storage, signal));
  if (id === host.repositoryId) return;
  throw new SalvageError(
    'failed',
    `Cannot back up to "${storage.description}": it is another repository than this host is set up for`,
    {
      hint: 'salvage init --adopt sets this host up for it.',
      details: { object: repositoryName },
    },
  );
}

/**
 * Whether a run may begin to read before storage has answered, as if it were the first one: far away that takes a second.
 * Nothing is stored before the answer. If it is not the first one, all that was read is read again.
 */
function mayAssume({ storage, source, dryRun = false }: BackupOptions): boolean {
  return storage.stageSpec.kind === 'transfer' && source.kind === 'paths' && !dryRun;
}

/** The repository has what a first run cannot have stored. */
class NotNew extends Error {}

interface RunResult {
  readonly snapshot: SnapshotId | undefined;
  readonly storedBytes: number;
  readonly packsStored: number;
  readonly healing: HealingOutcome | undefined;
}

class BackupRun {
  readonly #options: BackupOptions;
  readonly #from: StartingPoint;
  /** What storage has: nothing is stored before it is known. */
  readonly #known: Promise<KnownRepository>;
  readonly #counts: BackupCounts;
  readonly #recipients: readonly Recipient[];
  readonly #threads: number;
  readonly #packTargetBytes: number;
  /** By pack number: 1 for what this run must not refer to. Packs of this run have higher numbers. */
  readonly #gone: Uint8Array<SharedArrayBuffer>;

  constructor(
    options: BackupOptions,
    from: StartingPoint,
    known: Promise<KnownRepository>,
    counts: BackupCounts,
  ) {
    this.#options = { ...options, storage: new GatedStorage(options.storage, known) };
    this.#from = from;
    this.#known = known;
    this.#counts = counts;
    this.#recipients = options.host.recipients.map((text) => parseHostRecipient(text, options.plugins));
    const { packs, facts, storedBytes } = from;
    const memoryBytes = options.memoryBytes ?? usualMemoryBytes;
    const plan = planMemory(memoryBytes, options.threads, storedBytes, packsInMemory(options.storage));
    this.#threads = plan.threads;
    this.#packTargetBytes = plan.packTargetBytes;
    this.#gone = new Uint8Array(new SharedArrayBuffer(packs.size));
    for (let number = 0; number < packs.size; number++)
      if (packs.idOf(number) === undefined) this.#gone[number] = 1;
    for (const number of chooseMerged(packs, facts, this.#packTargetBytes)) this.#gone[number] = 1;
    facts.clearUse();
  }

  async try(): Promise<RunResult> {
    const { source } = this.#options;
    if (source.kind === 'stream')
      throw new SalvageError('usage', 'Cannot try a backup of a stream: only reading it tells what is new', {
        hint: 'Leave out --dry-run.',
      });
    const draft = new TreeDraft('', undefined);
    await readSources({ ...this.#reading(draft), walk: source.walk, workers: undefined });
    return { snapshot: undefined, storedBytes: 0, packsStored: 0, healing: undefined };
  }

  async make(started: Date, indexRecipients: readonly Recipient[]): Promise<RunResult> {
    const { storage, host, folder, source, clock, signal, paranoid = false } = this.#options;
    const { cache, journal, packs, facts, levels, unlisted, unindexed } = this.#from;
    const envelope = (): Promise<Envelope> => createEnvelope(this.#recipients);
    const index = new IndexWriter(
      storage,
      () => createEnvelope([...this.#recipients, ...indexRecipients]),
      signal,
    );
    const packing = { targetBytes: this.#packTargetBytes, level: fastLevel };
    const store = new PackStore({
      storage,
      packs,
      facts,
      journal,
      index,
      createEnvelope: envelope,
      paranoid,
      packing,
      signal,
    });
    const share = shareBlobTable(levels, cache.spillFolder());
    const blobs = new BlobTable(share, this.#isGone);
    try {
      for (const pack of unlisted) {
        const number = await store.adopt(pack, unindexed.has(pack.id));
        for (let blob = 0, offset = 0; blob < pack.blobs.count; offset += pack.blobs.length(blob++))
          blobs.claim(pack.blobs.digest(blob), number, offset, pack.blobs.length(blob));
      }
      const draft = new TreeDraft(cache.newFile('listing'), this.#from.lastListing);
      const lastSegments = await this.#read(
        draft,
        {
          chunkerSeed: host.chunkerSeed,
          stageSpec: storage.stageSpec,
          packTargetBytes: this.#packTargetBytes,
          level: fastLevel,
          blobTable: share,
          gonePacks: this.#gone,
        },
        store,
      );
      const tree = await writeTree(draft.finish(lastSegments), {
        store,
        packs,
        facts,
        blobs,
        listing: cache.newFile('listing'),
      });
      const indexes = await index.finish();
      const { head, marks } = await this.#known;
      const sequence = head.sequence + 1;
      const id = newSnapshotId(sequence, started);
      const storedBytes = store.storedBytes + index.storedBytes;
      const paths = source.kind === 'paths' ? source.paths : [source.stream.name];
      const {
        filesNew,
        filesChanged,
        filesUnchanged,
        directories,
        contentBytes,
        bytesRead,
        bytesNew,
        problems,
      } = this.#counts;
      const used = this.#usedPacks();
      const stored = async (): Promise<void> => {
        await Promise.all([store.finish(), index.stored()]);
        if (host.lock)
          await extendLocks({
            storage,
            policy: host.lock,
            names: [...used.map(packName), repositoryName, readmeName, recoverName],
            path: join(folder, 'locks'),
            started,
            now: clock.now(),
            signal,
          });
      };
      const checksums = await commitSnapshot(
        {
          id,
          sequence,
          previous: head.digest,
          started,
          finished: clock.now(),
          paths,
          tags: this.#options.tags ?? [],
          labels: this.#options.labels ?? {},
          group: snapshotGroup(host.chunkerSeed, { paths }),
          entries: filesNew + filesChanged + filesUnchanged + directories,
          sizeBytes: contentBytes,
          storedBytes,
          statistics: { filesNew, filesChanged, filesUnchanged, directories, bytesRead, bytesNew, problems },
          segments: tree.segments,
          packs: used,
          indexes,
        },
        {
          storage,
          host,
          createEnvelope: envelope,
          signer: this.#options.signer,
          stored,
          confirm: () => marks.confirm(id, used, signal),
          signal,
        },
      );
      const own = blobs.finish(cache.newFile('blobs'));
      const healing = this.#healing(own);
      cache.commit({ snapshot: id, checksums, packs, listing: tree.listing, levels: [...own, ...levels] });
      facts.write(this.#from.factsPath, checksums);
      journal.clear();
      return { snapshot: id, storedBytes, packsStored: store.stored, healing };
    } finally {
      await Promise.allSettled([store.quiet(), index.stored()]);
      index.discard();
      blobs.close();
    }
  }

  #healing(own: readonly string[]): HealingOutcome | undefined {
    const { healed, healingDeferred, levels, packs } = this.#from;
    if (healed.length === 0) return undefined;
    return {
      packs: healed.length,
      ...compareHealed(healed, levels, own, (pack) => packs.idOf(pack) !== undefined),
      packsDeferred: healingDeferred,
    };
  }

  async #read(draft: TreeDraft, setup: WorkerSetup, store: PackStore): Promise<number | undefined> {
    const { source, signal } = this.#options;
    signal.throwIfAborted();
    await using workers = new BackupWorkers({ threads: this.#threads, setup, store, signal });
    let lastSegments: number | undefined;
    if (source.kind === 'stream')
      await readStream({ ...this.#reading(draft), stream: source.stream, workers });
    else ({ lastSegments } = await readSources({ ...this.#reading(draft), walk: source.walk, workers }));
    await workers.flush();
    return lastSegments;
  }

  #reading(draft: TreeDraft): Omit<Parameters<typeof readSources>[0], 'walk' | 'workers'> {
    const { observer, clock, signal, force = false } = this.#options;
    const { facts, lastListing } = this.#from;
    return {
      lastListing,
      draft,
      facts,
      isGone: this.#isGone,
      force,
      counts: this.#counts,
      observer,
      clock,
      signal,
    };
  }

  readonly #isGone = (pack: number): boolean => this.#gone[pack] === 1;

  #usedPacks(): PackId[] {
    const { packs, facts } = this.#from;
    const used: PackId[] = [];
    for (let number = 0; number < facts.size; number++) {
      const id = facts.usedBytes(number) > 0 ? packs.idOf(number) : undefined;
      if (id !== undefined) used.push(id);
    }
    return used;
  }
}

/** Packs of one worker that are in memory at a time: a folder takes them as they are made. */
function packsInMemory({ stageSpec }: Storage): number {
  return stageSpec.kind === 'folder' ? 0 : permitsPerWorker(stageSpec);
}

function parseHostRecipient(text: string, plugins: RecipientPlugins | undefined): Recipient {
  const recipient = parseRecipient(text, plugins);
  if (!recipient)
    throw new SalvageError(
      'bad-key',
      'Cannot encrypt to a recipient of the host configuration: it is a key that cannot encrypt',
      {
        hint: 'Set the host up again, with salvage init --adopt.',
      },
    );
  return recipient;
}
