import { constants } from 'node:os';

const names = new Map<number, string>();
for (const [name, number] of Object.entries(constants.errno)) if (!names.has(number)) names.set(number, name);

/** The name of an errno, such as `ENOENT`. */
function errnoName(errno: number): string {
  return names.get(errno) ?? `E${errno}`;
}

/** A system call that the kernel refused. `code` as on Node's own errors, so that both are handled alike. */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError';
  readonly code: string;
  readonly syscall: string;

  constructor(syscall: string, errno: number) {
    super(`${syscall}: ${errnoName(errno)}`);
    this.code = errnoName(errno);
    this.syscall = syscall;
  }
}

/** The errno name on an error of Node's fs or of ours; '' for anything else. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

const states: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  EEXIST: 'something is there already',
  ENOENT: 'it is gone',
  ENOTDIR: 'a directory on its way is not one',
  ELOOP: 'a symbolic link is in its place',
  ESTALE: 'something else has taken its place',
  EISDIR: 'a directory is in its place',
  ENOTEMPTY: 'a directory that is not empty is in its place',
  EIO: 'the disk reports an error',
  ENOSPC: 'no space is left on the disk',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the file system is read-only',
  EFBIG: 'it is too large for the file system',
  ENAMETOOLONG: 'its name is too long',
  EMLINK: 'it has as many names as the file system allows',
  ENOTSUP: 'the file system does not support it',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open on this machine',
};

/** The present state, for a message: what the errno means to a person, else the error's own words. */
export function stateOf(error: unknown): string {
  return states[errorCode(error)] ?? (error instanceof Error ? error.message : String(error));
}
