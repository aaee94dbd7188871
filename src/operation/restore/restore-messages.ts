import type { ErrorCode } from '../../errors/salvage-error.ts';
import type { Overwrite } from '../../posix/target-directory.ts';
import type { ObjectDigest, PackId } from '../../repository/ids.ts';
import type { SealedObject } from '../../repository/pack/pack-reader.ts';

/** How the target is written, by the planner and by every worker alike. */
export interface TargetSettings {
  readonly target: string;
  readonly overwrite: Overwrite;
  readonly numericIds: boolean;
  readonly allowDevices: boolean;
  readonly owners: boolean | undefined;
}

export interface RestoreSettings extends TargetSettings {
  readonly madeSinceNs: bigint;
}

/** Restore what is in one pack. */
export interface PackJob {
  readonly kind: 'pack';
  /** As the signed list has it. */
  readonly pack: PackId;
  /** Of the object that is read: another one if the pack was rewrapped. */
  readonly digest: ObjectDigest;
  readonly object: SealedObject;
  /** The first bytes of the pack. */
  readonly head: Uint8Array;
  /** Read all of it and check its SHA-256; else only the frames that are needed, and check each blob's. */
  readonly whole: boolean;
  /** Of a FileBatchWriter. */
  readonly batch: Uint8Array<ArrayBuffer>;
}

/** Read restored files again and compare the SHA-256 of every blob. */
export interface CheckJob {
  readonly kind: 'check';
  readonly batch: Uint8Array;
}

export type RestoreJob = PackJob | CheckJob;

export interface LostFile {
  readonly path: Uint8Array;
  /** Of a file that spans packs. */
  readonly spread: number | undefined;
  readonly code: ErrorCode;
  readonly message: string;
}

export interface PlainProblem {
  readonly path: Uint8Array;
  readonly what: string;
  readonly message: string;
}

export interface RestoreAnswer {
  /** Whole files that were written. */
  readonly files: number;
  /** Whole files that the overwrite policy keeps. */
  readonly kept: number;
  /** Bytes of content written, or checked. */
  readonly bytes: number;
  readonly lost: readonly LostFile[];
  readonly problems: readonly PlainProblem[];
  /** What is wrong with the pack itself, although some or all of it could be used. */
  readonly damage: string | undefined;
  /** The job's batch, if something in it is damaged. */
  readonly batch: Uint8Array<ArrayBuffer> | undefined;
  /** Why nothing more can be written. */
  readonly fatal: string | undefined;
}
