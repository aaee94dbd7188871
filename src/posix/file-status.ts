import { allocate, at, lastError, systemCalls } from './system-calls.ts';
import type { Address } from './system-calls.ts';
import type { FileType } from './file-entry.ts';

const typeMask = 0o170000;
const types = new Map<number, FileType>([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
  [0o010000, 'fifo'],
  [0o140000, 'socket'],
  [0o020000, 'character-device'],
  [0o060000, 'block-device'],
]);

/** STATX_BASIC_STATS | STATX_BTIME. */
const wanted = 0xfff;
const birthTimeKnown = 0x800;
const two32 = 4294967296;

/**
 * What `statx` says of one object, read from the kernel's own record: filling it again makes no garbage, and reading a
 * number makes no BigInt. Seconds and nanoseconds are two numbers; the nanoseconds are never negative.
 */
export class FileStatus {
  readonly #record = allocate(256);
  readonly #u32 = new Uint32Array(this.#record.buffer);
  readonly #i32 = new Int32Array(this.#record.buffer);
  readonly #u16 = new Uint16Array(this.#record.buffer);
  readonly #address: Address = systemCalls().addressOf(this.#record);
  readonly #empty: Buffer = allocate(8);
  readonly #emptyAddress: Address = systemCalls().addressOf(this.#empty);
  readonly #calls = systemCalls();

  /** Of the object at a path below a directory fd; a last symlink is not followed unless asked. False: see `errno()`. */
  readAt(directory: number, path: Address, follow = false): boolean {
    return this.#calls.statx(directory, path, follow ? 0 : at.noFollow, wanted, this.#address) === 0;
  }

  /** Of an open file. False: see `errno()`. */
  readFd(fd: number): boolean {
    return this.#calls.statx(fd, this.#emptyAddress, at.emptyPath, wanted, this.#address) === 0;
  }

  copyFrom(other: FileStatus): void {
    this.#u32.set(other.#u32);
  }

  get type(): FileType {
    return types.get(this.#u16[14]! & typeMask) ?? 'socket';
  }
  get isDirectory(): boolean {
    return (this.#u16[14]! & typeMask) === 0o040000;
  }
  get isFile(): boolean {
    return (this.#u16[14]! & typeMask) === 0o100000;
  }
  /** The low twelve bits. */
  get mode(): number {
    return this.#u16[14]! & 0o7777;
  }
  get links(): number {
    return this.#u32[4]!;
  }
  get uid(): number {
    return this.#u32[5]!;
  }
  get gid(): number {
    return this.#u32[6]!;
  }
  /** Rounded above 2^53, which few file systems reach: good for comparing, and `identity` is exact. */
  get inode(): number {
    return this.#u32[9]! * two32 + this.#u32[8]!;
  }
  get size(): number {
    return this.#u32[11]! * two32 + this.#u32[10]!;
  }
  /** Of 512 bytes each. */
  get blocks(): number {
    return this.#u32[13]! * two32 + this.#u32[12]!;
  }
  get ctimeSeconds(): number {
    return this.#i32[25]! * two32 + this.#u32[24]!;
  }
  get ctimeNanoseconds(): number {
    return this.#u32[26]!;
  }
  get mtimeSeconds(): number {
    return this.#i32[29]! * two32 + this.#u32[28]!;
  }
  get mtimeNanoseconds(): number {
    return this.#u32[30]!;
  }
  get mtimeNs(): bigint {
    return BigInt(this.mtimeSeconds) * 1_000_000_000n + BigInt(this.mtimeNanoseconds);
  }
  get ctimeNs(): bigint {
    return BigInt(this.ctimeSeconds) * 1_000_000_000n + BigInt(this.ctimeNanoseconds);
  }
  /** When the object was made, or its ctime where the file system does not say. */
  get birthTimeNs(): bigint {
    if ((this.#u32[0]! & birthTimeKnown) === 0) return this.ctimeNs;
    return BigInt(this.#i32[21]! * two32 + this.#u32[20]!) * 1_000_000_000n + BigInt(this.#u32[22]!);
  }
  get deviceMajor(): number {
    return this.#u32[32]!;
  }
  get deviceMinor(): number {
    return this.#u32[33]!;
  }
  /** Of the file system that holds the object: major and minor in one number. */
  get fileSystem(): number {
    return this.#u32[34]! * two32 + this.#u32[35]!;
  }
  /** The same for two names only if they are the same object. */
  get identity(): string {
    return `${this.#u32[34]}:${this.#u32[35]}:${this.#u32[9]}:${this.#u32[8]}`;
  }

  /** The same object, by file system and inode. */
  isSameObject(other: FileStatus): boolean {
    return (
      this.#u32[8] === other.#u32[8] &&
      this.#u32[9] === other.#u32[9] &&
      this.#u32[34] === other.#u32[34] &&
      this.#u32[35] === other.#u32[35]
    );
  }
}

/** Reads the status of an open file into `into`. Throws SystemCallError. */
export function readStatus(fd: number, into: FileStatus): FileStatus {
  if (!into.readFd(fd)) throw lastError('statx');
  return into;
}
