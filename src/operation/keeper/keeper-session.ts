import { join } from 'node:path';
import type { Clock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { FileLock } from '../../posix/file-lock.ts';
import { sequenceOf, type RepositoryId, type SnapshotId } from '../../repository/ids.ts';
import type { ForgottenSnapshot, KeeperAct } from '../../repository/keeper-record.ts';
import { snapshotFileName } from '../../repository/layout.ts';
import type { Signer } from '../../ssh/signer.ts';
import type { Storage } from '../../storage/storage.ts';
import { readRepositoryJson, type StoredSnapshots } from '../open-repository.ts';
import type { TrustedSigners } from '../reading/document-signature.ts';
import { mapRewrapped, type RewrapMap } from '../reading/rewrapped-objects.ts';
import {
  forgottenSnapshots,
  readKeeperHistory,
  writeKeeperRecord,
  type TrustedRecord,
} from './keeper-records.ts';
import { KeeperStateFile, makeStateFolder, type KeeperState } from './keeper-state.ts';

export interface KeeperOptions {
  readonly storage: Storage;
  /** Undefined for who signs nothing: then only `trusted` is believed. */
  readonly signer: Signer | undefined;
  /** Other keys whose records are believed: those that this keeper had before. */
  readonly trusted?: TrustedSigners | undefined;
  /** The folder of the keeper's states. */
  readonly stateFolder: string;
  /** Beside others that do the same, and beside nobody else. */
  readonly shared?: boolean;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Something that is odd and does not stop the run. */
  readonly onNotice: (message: string) => void;
}

/** The principal under which a keeper finds its own key. */
const self = 'keeper';

/** One run of a keeper: what it and those before it did, and the one way to do more. */
export class KeeperSession implements Disposable {
  readonly repository: RepositoryId;
  readonly state: KeeperState;
  readonly #options: KeeperOptions;
  readonly #started: Date;
  readonly #lock: FileLock;
  readonly #file: KeeperStateFile;
  readonly #records: TrustedRecord[];
  readonly #forgotten: Map<number, ForgottenSnapshot>;
  #open: readonly number[];

  private constructor(
    options: KeeperOptions,
    repository: RepositoryId,
    lock: FileLock,
    file: KeeperStateFile,
    state: KeeperState,
    records: readonly TrustedRecord[],
  ) {
    this.#options = options;
    this.#started = options.clock.now();
    this.repository = repository;
    this.#lock = lock;
    this.#file = file;
    this.state = state;
    this.#records = [...records];
    this.#forgotten = forgottenSnapshots(records);
    this.#open = records.at(-1)?.record.open ?? [];
  }

  /**
   * @throws no-repository; busy; damaged if the chain of records is broken, or shorter than it was; failed
   */
  static async open(options: KeeperOptions): Promise<KeeperSession> {
    const { storage, stateFolder, shared = false, signal } = options;
    const { id } = await readRepositoryJson(storage, signal);
    makeStateFolder(stateFolder);
    const path = join(stateFolder, `${id}.lock`);
    const lock = shared ? FileLock.share(path) : FileLock.take(path);
    if (!lock)
      throw new SalvageError(
        'busy',
        `Cannot keep "${storage.description}": another run of this keeper is at it`,
        {
          hint: 'Wait until it has finished.',
        },
      );
    try {
      const file = new KeeperStateFile(stateFolder, id);
      const state = file.read();
      const records = await readRecords(options, id);
      checkContinuity(options, state, records);
      return new KeeperSession(options, id, lock, file, state, records);
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#lock[Symbol.dispose]();
  }

  /** What was removed on purpose, by sequence number. */
  get forgotten(): ReadonlyMap<number, ForgottenSnapshot> {
    return this.#forgotten;
  }

  /** Marks and sweeps that are not over. */
  get openRecords(): readonly TrustedRecord[] {
    const open = new Set(this.#open);
    return this.#records.filter(({ id }) => open.has(id.number));
  }

  /** What stands for objects that were rewrapped. */
  get rewrapped(): RewrapMap {
    return mapRewrapped(this.#records.map(({ record }) => record));
  }

  /** As `rewrapped`, of those that are for just these recipients. */
  rewrappedFor(recipients: string): RewrapMap {
    const records = this.#records.map(({ record }) => record);
    const theirs = mapRewrapped(
      records.filter((record) => record.action === 'rewrapped' && record.recipients === recipients),
    );
    const newest = mapRewrapped(records);
    return new Map([...theirs].filter(([from, to]) => newest.get(from) === to));
  }

  /** The number of the newest record. */
  get newestNumber(): number {
    return this.#records.at(-1)?.id.number ?? 0;
  }

  /** The record is over: the next that is written says so. */
  close(record: TrustedRecord): void {
    this.#open = this.#open.filter((number) => number !== record.id.number);
  }

  /** To be asked before anything is recorded that would then not happen. @throws failed */
  requireRemoval(): void {
    const { storage } = this.#options;
    if (storage.capabilities.remove) return;
    throw new SalvageError(
      'failed',
      `Cannot remove anything from "${storage.description}": it may only be added to from here`,
      { hint: 'Use the URL and the credential of the keeper, not those of the host.' },
    );
  }

  /** Signs and stores what is about to be done. @throws bad-key, failed */
  async record(act: KeeperAct): Promise<TrustedRecord> {
    const { storage, signer, clock, signal } = this.#options;
    if (!signer) throw new Error('who has no key writes no record');
    const isOpen = act.action === 'mark' || act.action === 'sweep';
    const record = await writeKeeperRecord(
      storage,
      {
        repository: this.repository,
        newest: this.#records.at(-1),
        time: this.#recordTime(clock.now()),
        open: this.#open,
        isOpen,
        act,
      },
      signer,
      signal,
    );
    this.#records.push(record);
    this.#open = record.record.open;
    for (const [sequence, snapshot] of forgottenSnapshots([record])) this.#forgotten.set(sequence, snapshot);
    return record;
  }

  /** The first few numbers of snapshots that are neither there nor forgotten. */
  missing({ committed }: StoredSnapshots): number[] {
    const there = new Set(committed.map(({ id }) => sequenceOf(id)));
    const last = committed.at(-1);
    const newest = Math.max(this.state.newestSnapshot, last ? sequenceOf(last.id) : 0);
    const missing: number[] = [];
    for (let sequence = 1; sequence <= newest && missing.length < 5; sequence++)
      if (!there.has(sequence) && !this.#forgotten.has(sequence)) missing.push(sequence);
    return missing;
  }

  /**
   * Checks that each snapshot that ever was is there or was forgotten: what nobody accounts for may have been taken away,
   * or a listing may lack it, and its packs must stay.
   * @throws damaged
   */
  checkComplete(stored: StoredSnapshots): void {
    const missing = this.missing(stored);
    if (missing.length === 0) return;
    throw new SalvageError(
      'damaged',
      `Cannot tell what is still needed in "${this.#options.storage.description}": snapshot number ${missing.join(', ')} is missing, and no record of this keeper says that it was removed`,
      {
        hint: 'Bring it back, or accept the loss with "salvage prune --accept-missing": its packs are removed then.',
      },
    );
  }

  /**
   * Remembers what was seen, at the end of a run that has come to its end: also the newest snapshot, which is to be there
   * or forgotten from now on. @throws failed
   */
  remember(
    newestSnapshot: SnapshotId | undefined,
    more: Partial<Pick<KeeperState, 'received' | 'unlisted'>> = {},
  ): void {
    const newest = this.#records.at(-1);
    this.#file.write({
      ...this.state,
      looked: this.#started.toISOString(),
      newestSnapshot: Math.max(
        this.state.newestSnapshot,
        newestSnapshot === undefined ? 0 : sequenceOf(newestSnapshot),
      ),
      record: newest ? { number: newest.id.number, digest: newest.digest } : null,
      ...more,
    });
  }

  /** A clock that was set back must not make a record older than the one before it. */
  #recordTime(now: Date): Date {
    const before = new Date(this.#records.at(-1)?.record.time ?? 0);
    return now > before ? now : before;
  }
}

async function readRecords(
  { storage, signer, trusted, signal, onNotice }: KeeperOptions,
  repository: RepositoryId,
): Promise<readonly TrustedRecord[]> {
  const principal = trusted?.principal ?? self;
  const own = signer && {
    principals: principal,
    key: signer.publicKey,
    certAuthority: false,
    namespaces: undefined,
    validAfter: undefined,
    validBefore: undefined,
    line: 0,
  };
  const allowedSigners = [...(own ? [own] : []), ...(trusted?.allowedSigners ?? [])];
  const { records, problems } = await readKeeperHistory(
    storage,
    repository,
    { allowedSigners, principal, ...(trusted?.revoked && { revoked: trusted.revoked }) },
    signal,
  );
  for (const { kind, message } of problems) {
    if (kind !== 'forged')
      throw new SalvageError(
        kind === 'unreadable' ? 'failed' : 'damaged',
        `Cannot go on from the records of this keeper: ${message.charAt(0).toLowerCase()}${message.slice(1)}`,
        {
          hint: 'If they were made with an earlier key, name it: --allowed-signers FILE --keeper NAME. Else ask "salvage verify".',
        },
      );
    onNotice(message);
  }
  return records;
}

function checkContinuity(
  { storage }: KeeperOptions,
  { record }: KeeperState,
  records: readonly TrustedRecord[],
): void {
  if (!record) return;
  const same = records.find(({ id }) => id.number === record.number);
  if (same?.digest === record.digest) return;
  throw new SalvageError(
    'damaged',
    `Cannot keep "${storage.description}": this keeper's record number ${record.number} is ${same ? 'another one than it was' : 'not there any more'}: storage was set back, or somebody has removed it`,
    { hint: 'salvage verify tells more.' },
  );
}

/** Removes what there is of a snapshot, in the reverse order of its making. */
export async function removeSnapshotFiles(
  storage: Storage,
  id: SnapshotId,
  signal?: AbortSignal,
): Promise<void> {
  for (const file of ['SHA256SUMS.sig', 'SHA256SUMS', 'root.age', 'snapshot.json'] as const)
    await storage.remove(snapshotFileName(id, file), signal);
}
