import type { ObjectDigest } from '../../repository/ids.ts';
import type { SealedObject } from '../../repository/pack/pack-reader.ts';
import type { TroubleKind } from './trouble.ts';

/** Hash one object and compare. */
export interface HashJob {
  readonly kind: 'hash';
  readonly name: string;
  readonly digest: ObjectDigest;
}

/** Hash a pack, then open it and check every frame and these blobs. */
export interface OpenJob {
  readonly kind: 'open';
  readonly object: SealedObject;
  readonly digest: ObjectDigest;
  /** Records of offset, length (32 bits, little-endian) and SHA-256. */
  readonly blobs: Uint8Array<ArrayBuffer>;
  /** False if the pack's own SHA-256 and frames were checked before. */
  readonly whole: boolean;
}

export type VerifyJob = HashJob | OpenJob;

export interface VerifyAnswer {
  readonly bytes: number;
  readonly blobs: number;
  readonly troubles: readonly {
    readonly kind: TroubleKind;
    readonly message: string;
    /** SHA-256 of a changed object as it is. */
    readonly found?: ObjectDigest;
  }[];
}

export const blobReferenceBytes = 40;
