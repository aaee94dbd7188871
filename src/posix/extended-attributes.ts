import { allocate, cString, errno, lastError, systemCalls } from './system-calls.ts';

// The kernel's limits (XATTR_LIST_MAX, XATTR_SIZE_MAX): one buffer of this size holds any answer.
const limit = 65_536;
let answer: Buffer | undefined;

const unsupported = new Set([errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS]);

/** POSIX ACLs are these two attributes. */
export const accessAcl = 'system.posix_acl_access';
export const defaultAcl = 'system.posix_acl_default';

/**
 * All extended attributes of an open file, POSIX ACLs among them, by name; undefined if it has none or its file system
 * knows none. Throws SystemCallError.
 */
export function readXattrs(fd: number): ReadonlyMap<string, Buffer> | undefined {
  const calls = systemCalls();
  return collect(
    (into, size) => calls.flistxattr(fd, into, size),
    (name, into, size) => calls.fgetxattr(fd, name, into, size),
  );
}

/** The same for the object at a path; a last symlink is followed only if asked. Throws SystemCallError. */
export function readXattrsAt(path: Uint8Array, follow: boolean): ReadonlyMap<string, Buffer> | undefined {
  const calls = systemCalls();
  const text = cString(path);
  const list = follow ? calls.listxattr : calls.llistxattr;
  const get = follow ? calls.getxattr : calls.lgetxattr;
  return collect(
    (into, size) => list(text, into, size),
    (name, into, size) => get(text, name, into, size),
  );
}

function collect(
  list: (into: Buffer, size: number) => number,
  get: (name: Buffer, into: Buffer, size: number) => number,
): ReadonlyMap<string, Buffer> | undefined {
  answer ??= allocate(limit);
  const length = list(answer, limit);
  if (length === 0) return undefined;
  if (length < 0) {
    if (unsupported.has(systemCalls().errno())) return undefined;
    throw lastError('listxattr');
  }
  const names = answer
    .toString('latin1', 0, length - 1)
    .split('\0')
    .sort();
  const found = new Map<string, Buffer>();
  for (const name of names) {
    const bytes = Buffer.from(name, 'latin1');
    const size = get(cString(bytes), answer, limit);
    if (size >= 0) found.set(bytes.toString('utf8'), Buffer.from(answer.subarray(0, size)));
    // Removed since it was listed, or not for us to read: what is left is still worth keeping.
    else if (![errno.ENODATA, errno.EACCES, errno.EPERM].includes(systemCalls().errno()))
      throw lastError('getxattr');
  }
  return found.size === 0 ? undefined : found;
}

/** Sets one attribute of an open file. Throws SystemCallError. */
export function writeXattr(fd: number, name: string, value: Uint8Array): void {
  if (systemCalls().fsetxattr(fd, cString(name), value, value.length, 0) < 0) throw lastError('fsetxattr');
}
