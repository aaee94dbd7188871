import type { Storage } from '../storage.ts';

/** What a server lets its client do, besides listing and looking at all objects. Names are checked before. */
export interface ServeRights {
  mayCreate(name: string): boolean;
  mayRead(name: string): boolean;
  readonly mayRemove: boolean;
  /** The most bytes that an object of this name can have, however large the server lets them be. */
  largestBytes(name: string): number;
  /** The SHA-256, in lower-case hexadecimal, that an object of this name must have. */
  expectedDigest(name: string): string | undefined;
}

/** What an object counts beside its bytes: its name and its place in the file system are not free. */
export const bytesPerName = 4096;

/** Room that all connections to one place share. */
export interface ServeQuota {
  /** False if there is no room for so many bytes more. */
  reserve(bytes: number): boolean;
  release(bytes: number): void;
}

/** A storage that is served, and on which terms. */
export interface Served {
  readonly storage: Storage;
  readonly rights: ServeRights;
  readonly quota?: ServeQuota;
  /** Larger objects are refused, whatever their names; undefined: of any size. */
  readonly largestObjectBytes: number | undefined;
  /** Refuses, by a Refusal, names that storage must not be asked for. Called with a prefix for a listing. */
  readonly guard?: (name: string) => Promise<void>;
  /** Refuses, by a Refusal, a new object that there is no place for. */
  readonly admit?: (name: string) => Promise<void>;
  /** Lets go of what was taken when it was opened. */
  close(): Promise<void>;
}
