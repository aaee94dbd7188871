import type { StageSpec, StagedObject } from './staged-object.ts';

/** The largest object that a storage must accept in one `create` (docs/design/format.md "Limits"). */
export const largestObjectBytes: number = 128 * 1024 * 1024;

export type CreateResult =
  /** The object is stored, whole. */
  | 'created'
  /** An object of this name was there before; it was not touched, and nothing is known of its content. */
  | 'exists';

/** What is known of an object without reading it. */
export interface ObjectStat {
  readonly name: string;
  readonly sizeBytes: number;
  /** When storage received the object, by the clock of storage; undefined where it does not tell. */
  readonly receivedAt: Date | undefined;
}

/** Bytes [offset, offset + length); what lies behind the object's end is left out. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** What differs between storages in ways that a caller must know. */
export interface StorageCapabilities {
  /**
   * True if, of writers that race to create one name, exactly one is told 'created'. Where it is false two may be, and
   * one content wins. Nothing in the format depends on it: names are digests or carry random digits.
   */
  readonly exclusiveCreate: boolean;
  /** False where this credential or medium cannot delete (append-only): `remove` then throws. */
  readonly remove: boolean;
}

/** One of the contents that a name has had. */
export interface ObjectVersion extends ObjectStat {
  /** How storage names this version. */
  readonly id: string;
  /** Undefined for what the name stands for now. Else what was done to this version since, and when if storage tells. */
  readonly superseded:
    | { readonly by: 'another version' | 'removal'; readonly at: Date | undefined }
    | undefined;
}

/**
 * Where objects stay behind when their names are overwritten or removed, as in a versioned bucket. Nothing of ours is ever
 * overwritten: more than one version is somebody else's work, or an upload that was repeated.
 */
export interface ObjectVersions {
  /**
   * All versions of the objects whose names start with `prefix`: names in ascending byte order, versions of one name from
   * the oldest to the newest. Empty where this credential may not see them. @throws failed
   */
  list(prefix: string, signal?: AbortSignal): AsyncIterable<ObjectVersion>;
  /** As `Storage.read`. */
  read(version: ObjectVersion, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** From now on `read` and `stat` of this instance mean this superseded version by its name. The user is told. */
  prefer(version: ObjectVersion): void;
  /** What `prefer` was called with: proof that somebody has tampered. */
  readonly preferred: Iterable<ObjectVersion>;
}

/** Who can end a lock before its time: nobody at all, or whoever holds a special right. */
export type LockMode = 'compliance' | 'governance';

export interface Retention {
  readonly mode: LockMode;
  readonly until: Date;
}

/** Where storage can refuse, to everybody and for a time, that what is stored is destroyed (S3 Object Lock). */
export interface ObjectLock {
  /** From now on what this instance creates is locked. */
  lockNew(retention: Retention): void;
  /**
   * Locks objects that are there at least until then; never shortens. Asks for nothing where this instance knows that it
   * is so. The oldest version of each is meant. @throws failed if one is not there or cannot be locked
   */
  extend(names: readonly string[], retention: Retention, signal?: AbortSignal): Promise<void>;
}

/**
 * A flat set of immutable objects: the one way in which anything is stored. Local folders, SFTP, S3, rclone and
 * decorators implement it, and test/support/storage-conformance.ts is what they must pass.
 *
 * Contract of all methods:
 * - Names are checked by `checkObjectName`; anything else is refused before storage is asked.
 * - "Not there" is a value (undefined), "could not find out" an error: SalvageError 'failed' that names the object, with
 *   the cause. Its details have the object's name as `object` where the others may well be in order, as with a bad block;
 *   who reads then goes on with them. The signal's reason is thrown when `signal` is aborted; what was under way may then have happened or not.
 * - Calls may overlap freely; a storage limits by itself how many requests it has under way.
 * - Nothing is retried here, and nothing is cached: decorators do that.
 */
export interface Storage {
  /** For messages: the URL or path, without secrets. */
  readonly description: string;
  readonly capabilities: StorageCapabilities;
  /** How a worker thread hands finished objects over; see staged-object.ts. */
  readonly stageSpec: StageSpec;
  /**
   * The folder in which every object is a plain file under its name, for threads that read by themselves. Undefined where
   * that is not so, and in decorators, which want to see every request.
   */
  readonly objectsFolder?: string;
  /** Undefined where what is overwritten or removed is gone. Decorators pass it on. */
  readonly versions?: ObjectVersions | undefined;
  /** Undefined where nothing can be locked. Decorators pass it on. */
  readonly objectLock?: ObjectLock | undefined;

  /**
   * Stores the concatenation of `body` under a new name, or leaves the object alone that has this name. Under the name
   * the object is never seen in part: not by a reader, not after a crash at any instruction. The parts are not copied
   * and must not change until the call is over. After a failure (a lost reply) the object may exist all the same.
   *
   * That it also outlasts a power cut is certain once a later `settle` has returned.
   */
  create(name: string, body: readonly Uint8Array[], signal?: AbortSignal): Promise<CreateResult>;

  /**
   * As `create`, for an object of any size whose bytes come one after the other: an archive, not a part of a repository.
   * Memory is bounded by the storage. If `body` throws, or the process dies, no object of that name comes into being.
   */
  createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult>;

  /** As `create`, for an object that `stageObject(stageSpec, …)` made, in this or in another thread. */
  createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult>;

  /** Makes everything durable that was created or removed through this instance by calls that have returned. */
  settle(signal?: AbortSignal): Promise<void>;

  /**
   * The object's bytes in a buffer of their own, or undefined if there is none. A caller who does not know the size
   * bounds it with a range. Fewer bytes than asked for are returned only at the end of the object.
   */
  read(name: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array | undefined>;

  stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined>;

  /**
   * The objects whose names start with `prefix` (any string of name characters, '' for all), in ascending byte order of
   * their whole names. Unfinished uploads and files with names that no object can have are left out. Objects created or
   * removed while the listing runs, and on eventually consistent stores shortly before, may be in it or not.
   */
  list(prefix: string, signal?: AbortSignal): AsyncIterable<ObjectStat>;

  /** Removes the object; 'absent' if there was none. @throws failed where `capabilities.remove` is false */
  remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'>;

  /**
   * Removes what uploads that never came to their end have left, where nobody has touched it for `untouchedMs` by the clock
   * of storage. Returns how many there were. Absent where storage clears up by itself, or cannot.
   */
  removeUnfinished?(untouchedMs: number, signal?: AbortSignal): Promise<number>;

  /** Ends connections and programs that serve this instance. Nothing can be asked of it afterwards; can be called twice. */
  close(): Promise<void>;
}
