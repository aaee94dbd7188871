import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { SalvageError } from '../errors/salvage-error.ts';
import type { OpenDirectory } from './directory-cache.ts';
import type { FileEntry, FileType } from './file-entry.ts';
import { momentToCome } from './file-system-moment.ts';
import { FileStatus } from './file-status.ts';
import { dataExtents } from './holes.ts';
import { InodeSet } from './inode-set.ts';
import { NameBuffer } from './name-buffer.ts';
import { allocate, at, cString, errno, flag, lastError, systemCalls } from './system-calls.ts';
import { SystemCallError, stateOf } from './system-call-error.ts';
import { TargetDirectories } from './target-directories.ts';
import { TargetFile } from './target-file.ts';
import type { FileKeeper, SuspendedFile } from './target-file.ts';
import { TargetMetadata } from './target-metadata.ts';
import { checkTargetPath, showPath } from './target-path.ts';
import type { TargetProblem } from './target-problem.ts';
import { writeFully } from './write-fully.ts';

/** What to do where something exists already. An object that the same run made always gives way to a later entry. */
export type Overwrite =
  /** Leave it. */
  | 'never'
  /** Replace it if the entry's time is later. */
  | 'if-newer'
  /** Leave content of the same type, size and time, correct its owner, mode and attributes; replace the rest. */
  | 'if-different'
  | 'always';

/** What became of an entry. */
export type Outcome = 'made' | 'replaced' | 'kept';

export interface TargetOptions {
  readonly overwrite: Overwrite;
  readonly onProblem: (problem: TargetProblem) => void;
  /** Set owner and group; the default is to do so as root. */
  readonly owners?: boolean;
  /** Owner and group by number, whatever their names are here. */
  readonly numericIds?: boolean;
  /** Keep setuid and setgid bits; the default is to do so as root. */
  readonly keepSetIds?: boolean;
  readonly allowDevices?: boolean;
  /**
   * 'as-left': entries come in walk order, and a directory gets its owner, mode and time when an entry outside it
   * comes. 'by-caller': whoever writes with several workers makes the directories first, and sends them again through
   * `settleDirectory` when all files are complete.
   */
  readonly settle?: 'as-left' | 'by-caller';
  /** What was made since then counts as made by this run: `madeSinceNs` of the first TargetDirectory, for all workers. */
  readonly madeSinceNs?: bigint;
}

const createFlags = flag.writeOnly | flag.create | flag.exclusive | flag.noFollow | flag.closeOnExec;
const pathFlags = flag.path | flag.noFollow | flag.closeOnExec;
/** The mode of a file until it is complete. A sticky bit means nothing on a file: nobody else's looks like this. */
const unfinishedMode = 0o1600;
const nodeTypes: Partial<Record<FileType, number>> = {
  fifo: 0o010000,
  socket: 0o140000,
  'character-device': 0o020000,
  'block-device': 0o060000,
};

/**
 * The one way to write a tree of entries below a directory. Neither a hostile archive nor another process that moves
 * things about in the tree meanwhile makes it touch anything outside: every part of a path is opened below its parent
 * and never through a symlink; nothing that exists is ever written into, only replaced; hard links lead only to what
 * this run made or found to be right; whatever gets an owner or mode is held by a descriptor and known to be ours.
 *
 * **A file is whole or can be told from a whole one.** A new file is made under its own name, exclusively and
 * with mode 01600; it gets its own mode and then its time last. What a killed run left behind still has that mode, which
 * no policy takes for a file worth keeping. An object that replaces another is made under a temporary name and renamed.
 * On failure what was begun is removed.
 *
 * Synchronous, for worker threads: each has its own TargetDirectory over the same root. Methods throw SalvageError if
 * the entry cannot be made ('damaged' for one that no honest program makes); the next entry can follow. `close` ends it.
 */
export class TargetDirectory {
  readonly #calls = systemCalls();
  readonly #options: TargetOptions;
  readonly #metadata: TargetMetadata;
  readonly #directories: TargetDirectories;
  readonly #name = new NameBuffer();
  readonly #otherName = new NameBuffer();
  readonly #status = new FileStatus();
  readonly #kept = new InodeSet();
  /** When this run began, by the clock of the target's file system. */
  readonly madeSinceNs: bigint;

  private constructor(root: number, options: TargetOptions) {
    const isRoot = process.geteuid?.() === 0;
    this.#options = options;
    this.#metadata = new TargetMetadata({
      owners: options.owners ?? isRoot,
      numericIds: options.numericIds ?? false,
      keepSetIds: options.keepSetIds ?? isRoot,
      onProblem: options.onProblem,
    });
    this.madeSinceNs = options.madeSinceNs ?? momentToCome(root);
    this.#directories = new TargetDirectories(root, {
      metadata: this.#metadata,
      settle: options.settle ?? 'as-left',
      madeSinceNs: this.madeSinceNs,
      onProblem: options.onProblem,
    });
  }

  /** Opens the directory to write below, which is made if it does not exist. Throws SalvageError 'failed'. */
  static open(path: string | Buffer, options: TargetOptions): TargetDirectory {
    try {
      mkdirSync(path, { recursive: true });
      const text = typeof path === 'string' ? Buffer.from(path) : path;
      const address = new NameBuffer().bytes(text, 0, text.length);
      const flags = flag.readOnly | flag.directory | flag.closeOnExec;
      const fd = systemCalls().openat(at.currentDirectory, address, flags, 0);
      if (fd < 0) throw lastError('openat');
      return new TargetDirectory(fd, options);
    } catch (cause) {
      if (cause instanceof SalvageError) throw cause;
      throw new SalvageError('failed', `Cannot restore into "${path.toString()}": ${stateOf(cause)}`, {
        cause,
      });
    }
  }

  /**
   * Makes a directory, open to us alone until it is settled, or takes the one that is there. '.' is the root itself.
   * Directories that no entry names are made as they are needed, with the usual mode.
   */
  makeDirectory(entry: FileEntry): Outcome {
    if (isTop(entry)) {
      this.#directories.await('', entry);
      return 'kept';
    }
    const directory = this.#place(entry.path);
    const { address } = this.#name;
    let outcome: Outcome = 'made';
    if (this.#calls.mkdirat(directory.fd, address, 0o700) < 0) {
      if (this.#calls.errno() !== errno.EEXIST) throw refused(entry, lastError('mkdirat'));
      outcome = this.#takeDirectory(entry, directory);
    }
    const isOurs = outcome !== 'kept' || this.#isMadeByUs(this.#status);
    if (isOurs || this.#options.overwrite !== 'never') this.#directories.await(latin1(entry.path), entry);
    return outcome;
  }

  /**
   * For 'by-caller': directories again, in walk order, when all that is in them is complete. Each gets its owner,
   * attributes, mode and time when an entry outside it comes, or at `close`.
   */
  settleDirectory(entry: FileEntry): void {
    if (!isTop(entry)) this.#place(entry.path);
    this.#directories.settleLater(isTop(entry) ? '' : latin1(entry.path), entry);
  }

  /** Makes a file with its whole content, holes included in `content` but not written. */
  writeFile(entry: FileEntry, content: Uint8Array): Outcome {
    const directory = this.#place(entry.path);
    const fd = this.#create(entry, directory);
    if (fd < 0) return 'kept';
    const isTemporary = this.#isTemporary;
    try {
      if (entry.holes === undefined) writeFully(fd, content, 0);
      else {
        for (const [offset, length] of dataExtents(content.length, entry.holes))
          writeFully(fd, content.subarray(offset, offset + length), offset);
        if (this.#calls.ftruncate(fd, content.length) < 0) throw lastError('ftruncate');
      }
      this.#metadata.applyToNewFile(fd, entry, directory);
      this.#putInPlace(fd, directory, isTemporary);
    } catch (error) {
      this.#discard(fd, directory, isTemporary);
      throw refused(entry, error);
    }
    return isTemporary ? 'replaced' : 'made';
  }

  /**
   * True if what is there already is kept (and its metadata corrected, where the policy says so): nothing is to be fetched
   * for this entry. The same as making it would find, without making anything.
   */
  keepsExisting(entry: FileEntry): boolean {
    const directory = this.#place(entry.path);
    const isThere = this.#status.readAt(directory.fd, this.#name.address);
    return isThere && !this.#makeWay(entry, directory);
  }

  /** Begins a file whose content comes in pieces; undefined if the one that is there is kept. */
  createFile(entry: FileEntry): TargetFile | undefined {
    const fd = this.#create(entry, this.#place(entry.path));
    return fd < 0 ? undefined : new TargetFile(this.#fileKeeper, entry, fd, this.#isTemporary);
  }

  /** Takes up a file again that `suspend` left, here or in another worker. Throws 'failed' if it is not there as it was left. */
  resumeFile(entry: FileEntry, suspended: SuspendedFile): TargetFile {
    const directory = this.#place(entry.path);
    const address = suspended.isTemporary ? this.#temporaryName() : this.#name.address;
    const flags = flag.writeOnly | flag.noFollow | flag.nonBlock | flag.closeOnExec;
    const fd = this.#calls.openat(directory.fd, address, flags, 0);
    if (fd < 0) throw refused(entry, lastError('openat'));
    const isSame = this.#status.readFd(fd) && this.#status.identity === suspended.identity;
    if (!isSame || this.#status.links !== 1) {
      this.#calls.close(fd);
      throw refused(entry, new SystemCallError('openat', errno.ESTALE));
    }
    return new TargetFile(this.#fileKeeper, entry, fd, suspended.isTemporary);
  }

  /** Makes whatever is not a regular file: directory, symlink, hard link, fifo, socket, device. */
  make(entry: FileEntry): Outcome {
    switch (entry.type) {
      case 'file':
        throw new TypeError('a file is made with its content: writeFile or createFile');
      case 'directory':
        return this.makeDirectory(entry);
      case 'symlink':
        return this.#makeSymlink(entry);
      case 'hardlink':
        return this.#makeHardlink(entry);
      case 'fifo':
      case 'socket':
      case 'character-device':
      case 'block-device':
        return this.#makeNode(entry);
    }
  }

  /** Settles the directories that wait for it and closes everything. */
  close(): void {
    this.#directories.close();
  }

  // ---- Directories

  // The parent of a path, open, and the path's last name in #name.
  #place(path: Buffer): OpenDirectory {
    const slash = checkTargetPath(path);
    const parent = slash < 0 ? '' : path.toString('latin1', 0, slash);
    this.#directories.leaveFor(parent);
    const directory = this.#directories.open(parent, true);
    this.#name.bytes(path, slash + 1, path.length);
    return directory;
  }

  // Something has the directory's name already.
  #takeDirectory(entry: FileEntry, directory: OpenDirectory): Outcome {
    const { address } = this.#name;
    if (!this.#status.readAt(directory.fd, address)) throw refused(entry, lastError('statx'));
    if (this.#status.isDirectory) {
      this.#openToUs(directory);
      return 'kept';
    }
    if (!this.#mayReplace(entry, this.#status))
      throw new SalvageError(
        'failed',
        `Cannot restore the directory "${showPath(entry.path)}": something that is not a directory is in its place`,
      );
    if (this.#calls.unlinkat(directory.fd, address, 0) < 0) throw refused(entry, lastError('unlinkat'));
    if (this.#calls.mkdirat(directory.fd, address, 0o700) < 0) throw refused(entry, lastError('mkdirat'));
    return 'replaced';
  }

  // A directory that an earlier run settled may shut out its own owner, unless that is root.
  #openToUs(directory: OpenDirectory): void {
    const { mode } = this.#status;
    if (isSuperuser() || (mode & 0o700) === 0o700 || this.#options.overwrite === 'never') return;
    const fd = this.#calls.openat(directory.fd, this.#name.address, pathFlags | flag.directory, 0);
    if (fd < 0) return;
    this.#calls.chmod(cString(`/proc/self/fd/${fd}`), mode | 0o700);
    this.#calls.close(fd);
  }

  // ---- Files

  #isTemporary = false;

  /** A descriptor for the new file, or -1 if the one that is there is kept. */
  #create(entry: FileEntry, directory: OpenDirectory): number {
    this.#isTemporary = false;
    const { openat } = this.#calls;
    let fd = openat(directory.fd, this.#name.address, createFlags, unfinishedMode);
    if (fd >= 0) return fd;
    if (this.#calls.errno() !== errno.EEXIST) throw refused(entry, lastError('openat'));
    if (!this.#makeWay(entry, directory)) return -1;
    this.#isTemporary = true;
    const address = this.#temporaryName();
    fd = openat(directory.fd, address, createFlags, unfinishedMode);
    if (fd < 0 && this.#calls.errno() === errno.EEXIST) {
      // Left by a run that was killed.
      this.#calls.unlinkat(directory.fd, address, 0);
      fd = openat(directory.fd, address, createFlags, unfinishedMode);
    }
    if (fd < 0) throw refused(entry, lastError('openat'));
    return fd;
  }

  /** Closes the complete file and gives it its name, which is in #name. */
  #putInPlace(fd: number, directory: OpenDirectory, isTemporary: boolean): void {
    if (isTemporary) {
      const { address } = this.#name;
      if (this.#calls.renameat(directory.fd, this.#temporaryName(), directory.fd, address) < 0)
        throw lastError('renameat');
    }
    if (this.#calls.close(fd) < 0) throw lastError('close');
  }

  #discard(fd: number, directory: OpenDirectory, isTemporary: boolean): void {
    this.#calls.unlinkat(directory.fd, isTemporary ? this.#temporaryName() : this.#name.address, 0);
    this.#calls.close(fd);
  }

  readonly #fileKeeper: FileKeeper = {
    complete: (file) => {
      const { entry, fd, isTemporary } = file;
      const directory = this.#place(entry.path);
      try {
        if (this.#calls.ftruncate(fd, entry.size) < 0) throw lastError('ftruncate');
        this.#metadata.applyToNewFile(fd, entry, directory);
        this.#putInPlace(fd, directory, isTemporary);
      } catch (error) {
        this.#discard(fd, directory, isTemporary);
        throw refused(entry, error);
      }
    },
    discard: ({ entry, fd, isTemporary }) => {
      this.#discard(fd, this.#place(entry.path), isTemporary);
    },
    suspend: ({ entry, fd, isTemporary }) => {
      const isRead = this.#status.readFd(fd);
      const failure = isRead ? undefined : lastError('statx');
      this.#calls.close(fd);
      if (failure) throw refused(entry, failure);
      return { identity: this.#status.identity, isTemporary };
    },
  };

  // The same for the same name, so that a later run finds and removes what a killed one left.
  #temporaryName(): number {
    const digest = createHash('sha256').update(this.#name.current()).digest('hex').slice(0, 16);
    return this.#otherName.latin1(`.salvage-partial-${digest}`);
  }

  // ---- Links and nodes

  #makeSymlink(entry: FileEntry): Outcome {
    const { target } = entry;
    if (!target || target.length === 0 || target.includes(0))
      throw new SalvageError(
        'damaged',
        `Cannot restore the symbolic link "${showPath(entry.path)}": its target is empty or holds a NUL byte`,
      );
    const text = cString(target);
    return this.#makeNamed(entry, (directory, address) => this.#calls.symlinkat(text, directory, address));
  }

  #makeNode(entry: FileEntry): Outcome {
    const isDevice = entry.type === 'character-device' || entry.type === 'block-device';
    if (isDevice && !this.#options.allowDevices)
      throw new SalvageError(
        'failed',
        `Cannot restore the device "${showPath(entry.path)}": device nodes are not allowed`,
        { hint: 'Add --allow-devices if you trust where this comes from.' },
      );
    const [major, minor] = entry.device ?? [0, 0];
    if (isDevice && (!entry.device || !isBelow(2 ** 12, major) || !isBelow(2 ** 20, minor)))
      throw new SalvageError(
        'damaged',
        `Cannot restore the device "${showPath(entry.path)}": its numbers are missing or out of range`,
      );
    const mode = nodeTypes[entry.type]! | 0o600;
    const number = isDevice ? deviceNumber(major, minor) : 0;
    return this.#makeNamed(entry, (directory, address) =>
      this.#calls.mknodat(directory, address, mode, number),
    );
  }

  #makeHardlink(entry: FileEntry): Outcome {
    const { target } = entry;
    if (!target)
      throw new SalvageError(
        'damaged',
        `Cannot restore the hard link "${showPath(entry.path)}": it names no target`,
      );
    const directory = this.#place(entry.path);
    const first = this.#openLinkTarget(entry, target);
    try {
      const self = allocate(64);
      self.write(`/proc/self/fd/${first}`);
      const from = this.#calls.addressOf(self);
      const { address } = this.#name;
      const link = (to: number): number =>
        this.#calls.linkat(at.currentDirectory, from, directory.fd, to, at.follow);
      if (link(address) === 0) return 'made';
      if (this.#calls.errno() !== errno.EEXIST) throw lastError('linkat');
      this.#status.readFd(first);
      const inode = this.#status.identity;
      if (this.#status.readAt(directory.fd, address) && this.#status.identity === inode) return 'kept';
      if (!this.#makeWay(entry, directory)) return 'kept';
      const temporary = this.#temporaryName();
      this.#calls.unlinkat(directory.fd, temporary, 0);
      if (link(temporary) < 0) throw lastError('linkat');
      if (this.#calls.renameat(directory.fd, temporary, directory.fd, address) < 0)
        throw lastError('renameat');
      return 'replaced';
    } catch (error) {
      throw refused(entry, error);
    } finally {
      this.#calls.close(first);
    }
  }

  // The object itself, held by a descriptor: what is linked is what was checked.
  #openLinkTarget(entry: FileEntry, target: Buffer): number {
    const slash = checkTargetPath(target);
    const parent = this.#directories.open(slash < 0 ? '' : target.toString('latin1', 0, slash), false);
    const fd = this.#calls.openat(
      parent.fd,
      this.#otherName.bytes(target, slash + 1, target.length),
      pathFlags,
      0,
    );
    if (fd < 0) throw refused(entry, lastError('openat'));
    const isKnown = this.#status.readFd(fd) && !this.#status.isDirectory && this.#isOurs(this.#status);
    if (isKnown) return fd;
    this.#calls.close(fd);
    throw new SalvageError(
      'failed',
      `Cannot restore the hard link "${showPath(entry.path)}": "${showPath(target)}" was there before and is not from here`,
    );
  }

  // Made under its name, or under a temporary one that then takes its place; metadata by a descriptor on the object.
  #makeNamed(entry: FileEntry, create: (directory: number, name: number) => number): Outcome {
    const directory = this.#place(entry.path);
    const { address } = this.#name;
    let isTemporary = false;
    if (create(directory.fd, address) < 0) {
      if (this.#calls.errno() !== errno.EEXIST) throw refused(entry, lastError('create'));
      if (!this.#makeWay(entry, directory)) return 'kept';
      isTemporary = true;
      const temporary = this.#temporaryName();
      this.#calls.unlinkat(directory.fd, temporary, 0);
      if (create(directory.fd, temporary) < 0) throw refused(entry, lastError('create'));
    }
    const made = isTemporary ? this.#temporaryName() : address;
    const fd = this.#calls.openat(directory.fd, made, pathFlags, 0);
    if (fd < 0) throw refused(entry, lastError('openat'));
    try {
      // A hard link to somebody else's object, put here in the meantime, would get our owner and mode.
      if (!this.#status.readFd(fd) || this.#status.type !== entry.type || this.#status.links !== 1)
        throw new SystemCallError('openat', errno.ESTALE);
      this.#metadata.applyToPathFd(fd, entry);
      if (isTemporary && this.#calls.renameat(directory.fd, made, directory.fd, address) < 0)
        throw lastError('renameat');
    } catch (error) {
      throw refused(entry, error);
    } finally {
      this.#calls.close(fd);
    }
    return isTemporary ? 'replaced' : 'made';
  }

  // ---- What is there already

  /** True if the new object may take the name in #name; false if what is there is kept. */
  #makeWay(entry: FileEntry, directory: OpenDirectory): boolean {
    const status = this.#status;
    const { address } = this.#name;
    if (!status.readAt(directory.fd, address)) {
      if (this.#calls.errno() === errno.ENOENT) return true;
      throw refused(entry, lastError('statx'));
    }
    if (status.isDirectory) {
      if (this.#options.overwrite === 'never' && !this.#isMadeByUs(status)) return false;
      if (this.#calls.unlinkat(directory.fd, address, at.removeDirectory) < 0)
        throw refused(entry, lastError('unlinkat'));
      this.#directories.removeBelow(latin1(entry.path));
      return true;
    }
    if (this.#options.overwrite !== 'if-different' || this.#isMadeByUs(status) || isUnfinished(status))
      return this.#mayReplace(entry, status);
    if (!this.#takeSame(entry, directory)) return true;
    this.#kept.add(this.#status.inode);
    return false;
  }

  #mayReplace(entry: FileEntry, status: FileStatus): boolean {
    if (this.#isMadeByUs(status) || isUnfinished(status)) return true;
    const { overwrite } = this.#options;
    if (overwrite === 'if-newer') return entry.mtimeNs > status.mtimeNs;
    return overwrite !== 'never';
  }

  /** True if the object in #status is as the entry has it, or was made so: its content, by type, size and time. */
  #takeSame(entry: FileEntry, directory: OpenDirectory): boolean {
    const status = this.#status;
    if (status.type !== entry.type) return false;
    if (entry.type !== 'file') {
      if (!this.#metadata.isRight(status, entry)) return false;
      if (entry.type === 'symlink') return this.#hasTarget(directory, entry.target);
      const [major, minor] = entry.device ?? [0, 0];
      return status.deviceMajor === major && status.deviceMinor === minor;
    }
    if (status.size !== entry.size || status.mtimeNs !== entry.mtimeNs) return false;
    const flags = flag.readOnly | flag.noFollow | flag.nonBlock | flag.closeOnExec;
    const { identity } = status;
    const fd = this.#calls.openat(directory.fd, this.#name.address, flags, 0);
    if (fd < 0) return false;
    try {
      if (!status.readFd(fd) || status.identity !== identity) return false;
      if (this.#metadata.isRight(status, entry) && this.#metadata.hasXattrs(fd, entry)) return true;
      // A file with more names may have one outside: nothing of it is changed.
      if (status.links !== 1) return false;
      this.#metadata.applyToExisting(fd, entry);
      return true;
    } finally {
      this.#calls.close(fd);
    }
  }

  #hasTarget(directory: OpenDirectory, target: Buffer | undefined): boolean {
    if (!target) return false;
    const found = Buffer.alloc(target.length + 1);
    const length = this.#calls.readlinkat(directory.fd, this.#name.address, found, found.length);
    return length === target.length && found.subarray(0, length).equals(target);
  }

  #isOurs(status: FileStatus): boolean {
    return this.#isMadeByUs(status) || this.#kept.has(status.inode);
  }

  #isMadeByUs(status: FileStatus): boolean {
    return status.birthTimeNs >= this.madeSinceNs;
  }
}

function isTop(entry: FileEntry): boolean {
  return entry.path.length === 1 && entry.path[0] === 0x2e;
}

function latin1(path: Buffer): string {
  return path.toString('latin1');
}

function isUnfinished(status: FileStatus): boolean {
  return status.isFile && status.mode === unfinishedMode;
}

function isSuperuser(): boolean {
  return process.geteuid?.() === 0;
}

/** Major and minor in one number as Linux has them (makedev), for majors of 12 bits and minors of 20. */
function deviceNumber(major: number, minor: number): number {
  return (minor >>> 8) * 2 ** 20 + major * 2 ** 8 + (minor & 0xff);
}

function isBelow(limit: number, part: number): boolean {
  return Number.isInteger(part) && part >= 0 && part < limit;
}

function refused(entry: FileEntry, cause: unknown): SalvageError {
  if (cause instanceof SalvageError) return cause;
  return new SalvageError('failed', `Cannot restore "${showPath(entry.path)}": ${stateOf(cause)}`, { cause });
}
