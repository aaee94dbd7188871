import { AccountNames } from './account-names.ts';
import type { OpenDirectory } from './directory-cache.ts';
import { accessAcl, defaultAcl, readXattrs } from './extended-attributes.ts';
import type { FileEntry } from './file-entry.ts';
import type { FileStatus } from './file-status.ts';
import { allocate, at, cString, lastError, systemCalls } from './system-calls.ts';
import type { Address } from './system-calls.ts';
import { stateOf } from './system-call-error.ts';
import type { TargetProblem } from './target-problem.ts';

const nanoseconds = 1_000_000_000n;
const setIdBits = 0o6000;
/** UTIME_OMIT: the access time stays as it is. */
const omit = (1n << 30n) - 2n;

export interface MetadataOptions {
  readonly owners: boolean;
  readonly numericIds: boolean;
  readonly keepSetIds: boolean;
  readonly onProblem: (problem: TargetProblem) => void;
}

/**
 * Gives restored objects their owner, attributes, mode and time, always in this order: a change of owner clears the
 * setuid bits and capabilities, an unprivileged owner cannot set attributes on what the mode makes read-only, and the
 * time comes last because it is the mark of a complete file. What cannot be set is reported and left.
 */
export class TargetMetadata {
  readonly #options: MetadataOptions;
  readonly #calls = systemCalls();
  readonly #accounts = new AccountNames();
  readonly #times = new BigInt64Array(allocate(32).buffer as ArrayBuffer);
  readonly #timesAddress: Address = this.#calls.addressOf(new Uint8Array(this.#times.buffer));
  readonly #empty = allocate(8);
  readonly #emptyAddress: Address = this.#calls.addressOf(this.#empty);
  readonly #self = allocate(64);
  readonly #selfAddress: Address = this.#calls.addressOf(this.#self);
  readonly #processUid = process.geteuid?.() ?? 0;
  readonly #processGid = process.getegid?.() ?? 0;

  constructor(options: MetadataOptions) {
    this.#options = options;
  }

  /** To a file just made by us in `directory`. */
  applyToNewFile(fd: number, entry: FileEntry, directory: OpenDirectory): void {
    const uid = this.#uid(entry);
    const gid = this.#gid(entry);
    // Its group is ours or, by mount options that cannot be seen, the directory's: when all agree it is right already.
    const isRight = uid === this.#processUid && gid === this.#processGid && gid === directory.gid;
    if (directory.givesAcl) this.#calls.fremovexattr(fd, cString(accessAcl));
    this.#apply(fd, entry, isRight);
  }

  /** To an open file or directory that was there before: attributes that the entry does not have are removed. */
  applyToExisting(fd: number, entry: FileEntry): void {
    this.#removeOthers(fd, entry);
    this.#apply(fd, entry, false);
  }

  /** To an object that cannot be opened, or must not: a symlink, fifo, socket or device held by an O_PATH descriptor. */
  applyToPathFd(fd: number, entry: FileEntry): void {
    const calls = this.#calls;
    const self = this.#self;
    self.write(`/proc/self/fd/${fd}\0`, 'latin1');
    if (
      this.#options.owners &&
      calls.fchownat(fd, this.#emptyAddress, this.#uid(entry), this.#gid(entry), at.emptyPath) < 0
    )
      this.#report(entry, 'owner', lastError('fchownat'));
    for (const [name, value] of entry.xattrs ?? [])
      if (calls.setxattr(self, cString(name), value, value.length, 0) < 0)
        this.#report(entry, `extended attribute ${name}`, lastError('setxattr'));
    if (entry.type !== 'symlink' && calls.chmod(self, entry.mode & ~setIdBits) < 0)
      this.#report(entry, 'mode', lastError('chmod'));
    this.#setTimes(entry.mtimeNs);
    if (calls.utimensat(at.currentDirectory, this.#selfAddress, this.#timesAddress, 0) < 0)
      this.#report(entry, 'time', lastError('utimensat'));
  }

  /** Only the time, for a directory that was written to after it was complete. */
  setTime(fd: number, mtimeNs: bigint): void {
    this.#setTimes(mtimeNs);
    this.#calls.futimens(fd, this.#timesAddress);
  }

  /** True if an existing object of the entry's type has the owner, mode and time already. */
  isRight(status: FileStatus, entry: FileEntry): boolean {
    const { owners } = this.#options;
    return (
      (entry.type === 'symlink' || status.mode === this.#mode(entry, true)) &&
      (!owners || (status.uid === this.#uid(entry) && status.gid === this.#gid(entry))) &&
      status.mtimeNs === entry.mtimeNs
    );
  }

  /** True if an open file has the entry's attributes and no others that would be removed. */
  hasXattrs(fd: number, entry: FileEntry): boolean {
    const found = readXattrs(fd);
    const wanted = entry.xattrs;
    for (const [name, value] of wanted ?? []) if (!found?.get(name)?.equals(value)) return false;
    for (const name of found?.keys() ?? []) if (isOurs(name) && !wanted?.has(name)) return false;
    return true;
  }

  #apply(fd: number, entry: FileEntry, ownerIsRight: boolean): void {
    const calls = this.#calls;
    let owned = ownerIsRight;
    if (!ownerIsRight && this.#options.owners) {
      owned = calls.fchown(fd, this.#uid(entry), this.#gid(entry)) === 0;
      if (!owned) this.#report(entry, 'owner', lastError('fchown'));
    }
    if (entry.xattrs)
      for (const [name, value] of entry.xattrs)
        if (calls.fsetxattr(fd, cString(name), value, value.length, 0) < 0)
          this.#report(entry, `extended attribute ${name}`, lastError('fsetxattr'));
    if (calls.fchmod(fd, this.#mode(entry, owned)) < 0) this.#report(entry, 'mode', lastError('fchmod'));
    this.#setTimes(entry.mtimeNs);
    if (calls.futimens(fd, this.#timesAddress) < 0) this.#report(entry, 'time', lastError('futimens'));
  }

  // The setuid bit of a file that did not get its owner would lend the wrong person's rights.
  #mode(entry: FileEntry, owned: boolean): number {
    const { keepSetIds, owners } = this.#options;
    return keepSetIds && (owned || !owners) ? entry.mode : entry.mode & ~setIdBits;
  }

  #removeOthers(fd: number, entry: FileEntry): void {
    let found: ReadonlyMap<string, Buffer> | undefined;
    try {
      found = readXattrs(fd);
    } catch (error) {
      this.#report(entry, 'extended attributes', error);
    }
    for (const name of found?.keys() ?? [])
      if (isOurs(name) && !entry.xattrs?.has(name) && this.#calls.fremovexattr(fd, cString(name)) < 0)
        this.#report(entry, `extended attribute ${name}`, lastError('fremovexattr'));
  }

  #uid(entry: FileEntry): number {
    if (this.#options.numericIds || entry.user === '') return entry.uid;
    return this.#accounts.userId(entry.user) ?? entry.uid;
  }

  #gid(entry: FileEntry): number {
    if (this.#options.numericIds || entry.group === '') return entry.gid;
    return this.#accounts.groupId(entry.group) ?? entry.gid;
  }

  // struct timespec[2]: access time, modification time. Nanoseconds count up from the second below, before 1970 too.
  #setTimes(mtimeNs: bigint): void {
    let seconds = mtimeNs / nanoseconds;
    let rest = mtimeNs % nanoseconds;
    if (rest < 0n) {
      seconds -= 1n;
      rest += nanoseconds;
    }
    this.#times[1] = omit;
    this.#times[2] = seconds;
    this.#times[3] = rest;
  }

  #report(entry: FileEntry, what: string, cause: unknown): void {
    this.#options.onProblem({ path: entry.path, what, message: stateOf(cause), cause });
  }
}

// What the system itself keeps on a file (SELinux labels, for one) is not ours to remove.
function isOurs(name: string): boolean {
  return name.startsWith('user.') || name === accessAcl || name === defaultAcl;
}

/** True if new objects in the directory inherit an ACL. */
export function givesAcl(fd: number): boolean {
  return systemCalls().fgetxattr(fd, defaultAclName, null, 0) > 0;
}

const defaultAclName = cString(defaultAcl);
