import { constants as fs } from 'node:fs';
import { constants as os } from 'node:os';
import { loadKoffi } from '../bundle/load-koffi.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { SystemCallError } from './system-call-error.ts';

/**
 * Linux on x64 and arm64, glibc and musl, and the only place that knows how their calls look. `statx` has one layout
 * on all of them, which is why nothing here uses `struct stat`. Open flags differ between processors and come from
 * Node; what Node does not name is the same on both.
 */
export const flag: Readonly<
  Record<
    | 'directory'
    | 'noFollow'
    | 'noAtime'
    | 'nonBlock'
    | 'readOnly'
    | 'writeOnly'
    | 'create'
    | 'exclusive'
    | 'closeOnExec'
    | 'path'
    | 'temporaryFile',
    number
  >
> = {
  directory: fs.O_DIRECTORY,
  noFollow: fs.O_NOFOLLOW,
  noAtime: fs.O_NOATIME ?? 0,
  nonBlock: fs.O_NONBLOCK,
  readOnly: fs.O_RDONLY,
  writeOnly: fs.O_WRONLY,
  create: fs.O_CREAT,
  exclusive: fs.O_EXCL,
  closeOnExec: 0o2000000,
  path: 0o10000000,
  /** `__O_TMPFILE | O_DIRECTORY`. */
  temporaryFile: 0o20000000 | fs.O_DIRECTORY,
};

export const at = {
  currentDirectory: -100,
  noFollow: 0x100,
  removeDirectory: 0x200,
  follow: 0x400,
  emptyPath: 0x1000,
} as const;

export const seek = { data: 3, hole: 4 } as const;

/** The address of memory outside the V8 heap; below 2^47, so a number holds it. */
export type Address = number;

/**
 * The calls as the C library has them: a result below zero means failure, with the reason in `errno()` until the next
 * call. Where the path is an address, it points at bytes that end in NUL, in a buffer of `addressOf`.
 */
export interface SystemCalls {
  readonly errno: () => number;
  readonly openat: (directory: number, path: Address, flags: number, mode: number) => number;
  readonly close: (fd: number) => number;
  readonly statx: (directory: number, path: Address, flags: number, mask: number, into: Address) => number;
  readonly getdents64: (fd: number, into: Address, size: number) => number;
  readonly write: (fd: number, bytes: Uint8Array, length: number) => number;
  readonly pwrite: (fd: number, bytes: Uint8Array, length: number, position: number) => number;
  readonly ftruncate: (fd: number, size: number) => number;
  readonly lseek: (fd: number, offset: number, whence: number) => number;
  readonly mkdirat: (directory: number, path: Address, mode: number) => number;
  readonly mknodat: (directory: number, path: Address, mode: number, device: number) => number;
  readonly symlinkat: (target: Uint8Array, directory: number, path: Address) => number;
  readonly linkat: (
    fromDirectory: number,
    from: Address,
    toDirectory: number,
    to: Address,
    flags: number,
  ) => number;
  readonly unlinkat: (directory: number, path: Address, flags: number) => number;
  readonly renameat: (fromDirectory: number, from: Address, toDirectory: number, to: Address) => number;
  readonly readlinkat: (directory: number, path: Address, into: Uint8Array, size: number) => number;
  readonly flock: (fd: number, operation: number) => number;
  readonly fcntl: (fd: number, command: number, value: number) => number;
  readonly fchown: (fd: number, uid: number, gid: number) => number;
  readonly fchmod: (fd: number, mode: number) => number;
  readonly futimens: (fd: number, times: Address) => number;
  readonly fchownat: (directory: number, path: Address, uid: number, gid: number, flags: number) => number;
  readonly utimensat: (directory: number, path: Address, times: Address, flags: number) => number;
  readonly chmod: (path: Uint8Array, mode: number) => number;
  readonly flistxattr: (fd: number, into: Uint8Array | null, size: number) => number;
  readonly fgetxattr: (fd: number, name: Uint8Array, into: Uint8Array | null, size: number) => number;
  readonly fsetxattr: (
    fd: number,
    name: Uint8Array,
    value: Uint8Array,
    size: number,
    flags: number,
  ) => number;
  readonly fremovexattr: (fd: number, name: Uint8Array) => number;
  readonly listxattr: (path: Uint8Array, into: Uint8Array | null, size: number) => number;
  readonly getxattr: (path: Uint8Array, name: Uint8Array, into: Uint8Array | null, size: number) => number;
  readonly setxattr: (
    path: Uint8Array,
    name: Uint8Array,
    value: Uint8Array,
    size: number,
    flags: number,
  ) => number;
  readonly llistxattr: (path: Uint8Array, into: Uint8Array | null, size: number) => number;
  readonly lgetxattr: (path: Uint8Array, name: Uint8Array, into: Uint8Array | null, size: number) => number;
  readonly lsetxattr: (
    path: Uint8Array,
    name: Uint8Array,
    value: Uint8Array,
    size: number,
    flags: number,
  ) => number;
  readonly socket: (family: number, kind: number, protocol: number) => number;
  readonly sendto: (
    fd: number,
    bytes: Uint8Array,
    size: number,
    flags: number,
    to: Uint8Array,
    toSize: number,
  ) => number;
  readonly getpwuid_r: (
    uid: number,
    record: Address,
    buffer: Address,
    size: number,
    found: Address,
  ) => number;
  readonly getgrgid_r: (
    gid: number,
    record: Address,
    buffer: Address,
    size: number,
    found: Address,
  ) => number;
  readonly getpwnam_r: (
    name: Uint8Array,
    record: Address,
    buffer: Address,
    size: number,
    found: Address,
  ) => number;
  readonly getgrnam_r: (
    name: Uint8Array,
    record: Address,
    buffer: Address,
    size: number,
    found: Address,
  ) => number;
  /** Where the bytes are. The caller keeps the buffer alive and must have made it with `allocate`. */
  readonly addressOf: (bytes: Uint8Array) => Address;
}

// int64 for every address: a plain number costs a fraction of what a converted pointer does.
const signatures: Record<string, [result: string, ...parameters: string[]]> = {
  openat: ['int', 'int', 'int64', 'int', 'int'],
  close: ['int', 'int'],
  statx: ['int', 'int', 'int64', 'int', 'uint', 'int64'],
  getdents64: ['int64', 'int', 'int64', 'size_t'],
  write: ['int64', 'int', 'void *', 'size_t'],
  pwrite: ['int64', 'int', 'void *', 'size_t', 'int64'],
  ftruncate: ['int', 'int', 'int64'],
  lseek: ['int64', 'int', 'int64', 'int'],
  mkdirat: ['int', 'int', 'int64', 'uint'],
  mknodat: ['int', 'int', 'int64', 'uint', 'uint64'],
  symlinkat: ['int', 'void *', 'int', 'int64'],
  linkat: ['int', 'int', 'int64', 'int', 'int64', 'int'],
  unlinkat: ['int', 'int', 'int64', 'int'],
  renameat: ['int', 'int', 'int64', 'int', 'int64'],
  readlinkat: ['int64', 'int', 'int64', 'void *', 'size_t'],
  flock: ['int', 'int', 'int'],
  fcntl: ['int', 'int', 'int', 'int'],
  fchown: ['int', 'int', 'uint', 'uint'],
  fchmod: ['int', 'int', 'uint'],
  futimens: ['int', 'int', 'int64'],
  fchownat: ['int', 'int', 'int64', 'uint', 'uint', 'int'],
  utimensat: ['int', 'int', 'int64', 'int64', 'int'],
  chmod: ['int', 'void *', 'uint'],
  flistxattr: ['int64', 'int', 'void *', 'size_t'],
  fgetxattr: ['int64', 'int', 'void *', 'void *', 'size_t'],
  fsetxattr: ['int', 'int', 'void *', 'void *', 'size_t', 'int'],
  fremovexattr: ['int', 'int', 'void *'],
  listxattr: ['int64', 'void *', 'void *', 'size_t'],
  getxattr: ['int64', 'void *', 'void *', 'void *', 'size_t'],
  setxattr: ['int', 'void *', 'void *', 'void *', 'size_t', 'int'],
  llistxattr: ['int64', 'void *', 'void *', 'size_t'],
  lgetxattr: ['int64', 'void *', 'void *', 'void *', 'size_t'],
  lsetxattr: ['int', 'void *', 'void *', 'void *', 'size_t', 'int'],
  socket: ['int', 'int', 'int', 'int'],
  sendto: ['int64', 'int', 'void *', 'size_t', 'int', 'void *', 'uint'],
  getpwuid_r: ['int', 'uint', 'int64', 'int64', 'size_t', 'int64'],
  getgrgid_r: ['int', 'uint', 'int64', 'int64', 'size_t', 'int64'],
  getpwnam_r: ['int', 'void *', 'int64', 'int64', 'size_t', 'int64'],
  getgrnam_r: ['int', 'void *', 'int64', 'int64', 'size_t', 'int64'],
};

let loaded: SystemCalls | undefined;

/** The calls, loaded on first use: some 8 ms that commands which need none of them do not pay. Throws 'failed' where there are none. */
export function systemCalls(): SystemCalls {
  return (loaded ??= load());
}

function load(): SystemCalls {
  if (process.platform !== 'linux')
    throw new SalvageError(
      'failed',
      `Cannot reach the file system's calls on ${process.platform}: only Linux is supported so far`,
      { hint: 'Run salvage on Linux.' },
    );
  const koffi = loadKoffi();
  const library = koffi.load(null);
  const calls: Record<string, unknown> = {
    errno: () => koffi.errno(),
    addressOf: (bytes: Uint8Array) => Number(koffi.address(bytes)),
  };
  for (const [name, [result, ...parameters]] of Object.entries(signatures))
    calls[name] = library.func(name, result, parameters);
  return calls as unknown as SystemCalls;
}

/**
 * Gives the kernel all memory that the C library has in stock, of all threads: some milliseconds. glibc keeps what is freed
 * between pieces that are in use; elsewhere nothing happens.
 */
export function returnFreedMemory(): void {
  mallocTrim ??= loadMallocTrim();
  mallocTrim(0);
}

let mallocTrim: ((keepBytes: number) => number) | undefined;

function loadMallocTrim(): (keepBytes: number) => number {
  try {
    return loadKoffi().load(null).func('malloc_trim', 'int', ['size_t']);
  } catch {
    return () => 0;
  }
}

/** Zeroed memory of its own outside the V8 heap, whose address stays as it is: never a piece of Node's shared pool. */
export function allocate(size: number): Buffer {
  return Buffer.from(new ArrayBuffer(size));
}

/** The last failure as an error. To be asked for right after the call. */
export function lastError(syscall: string): SystemCallError {
  return new SystemCallError(syscall, systemCalls().errno());
}

/** Numbers of the reasons, by name. */
export const errno: typeof os.errno = os.errno;

/** The bytes with the NUL that ends them. Throws 'failed' on a NUL inside, which would cut the name short. */
export function cString(bytes: Uint8Array | string): Buffer {
  const text = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
  if (text.includes(0))
    throw new SalvageError('failed', `Cannot use a name of ${text.length} bytes: it holds a NUL byte`);
  const out = Buffer.alloc(text.length + 1);
  out.set(text);
  return out;
}
