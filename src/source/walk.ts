import { SalvageError } from '../errors/salvage-error.ts';
import { AccountNames } from '../posix/account-names.ts';
import { readXattrsAt } from '../posix/extended-attributes.ts';
import type { Extent, FileEntry, FileType } from '../posix/file-entry.ts';
import { FileStatus } from '../posix/file-status.ts';
import { NameBuffer } from '../posix/name-buffer.ts';
import { at, flag, lastError, systemCalls } from '../posix/system-calls.ts';
import { DirectoryListing, isCacheDirectory, openDirectory } from './directory-listing.ts';
import type { ExcludeRules } from './exclude-rules.ts';
import { problemOf } from './source-problem.ts';
import type { ReportSourceProblem, SourceProblemKind } from './source-problem.ts';
import type { RootNode } from './source-roots.ts';

export interface WalkOptions {
  /** From `planRoots`. */
  readonly roots: RootNode;
  readonly onProblem: ReportSourceProblem;
  /** Also give the directories that lead to the roots, below the top, as entries, so that a restore can make them as they were. */
  readonly parents?: boolean;
  readonly excludes?: ExcludeRules;
  /** In a directory with a valid CACHEDIR.TAG (bford.info/cachedir) only that file is kept. */
  readonly excludeCaches?: boolean;
  /** In a directory that holds a file of one of these names only that file is kept. */
  readonly excludeIfPresent?: readonly string[];
  /** Mount points are kept as empty directories. */
  readonly oneFileSystem?: boolean;
}

/** What only a file's reader knows (see SourceFile); the status is newer than the walk's. */
export interface OpenFileFacts {
  readonly status?: FileStatus;
  readonly xattrs?: ReadonlyMap<string, Buffer> | undefined;
  readonly holes?: readonly Extent[];
}

interface Level {
  /** For the names below it: -1 while it is closed to save descriptors, AT_FDCWD above the roots. */
  fd: number;
  /** Stored path with a slash at its end; '' for the top. */
  readonly prefix: string;
  readonly realPrefix: string;
  readonly names: readonly string[];
  index: number;
  readonly identity: string;
  /** Above the roots, where only some names are walked. */
  readonly node: RootNode | undefined;
  /** The file system to stay on. */
  readonly fileSystem: number;
}

/** Deeper than this, the descriptors of the upper directories are closed and opened again on the way back. */
const openLevels = 100;
const closed = -1;
const cacheTagName = 'CACHEDIR.TAG';

/**
 * Walks the roots in the order of tree segments (format.md): depth-first, names in byte order, a directory before its
 * children. A cursor: `next()` moves on, the other members tell of the object it stands on, until the next `next()`.
 * Names and paths are latin1 strings, one character per byte, which compare in byte order; a FileEntry has the bytes.
 *
 * Below the roots every directory is opened relative to its parent and never through a symlink. Memory: the names in
 * the directories on the way down, and one string for each file that has several names. What cannot be read is
 * reported and left out. Throws SalvageError 'failed' if a root does not exist.
 */
export class Walk {
  readonly #calls = systemCalls();
  readonly #options: WalkOptions;
  readonly #tagNames: ReadonlySet<string>;
  readonly #listing = new DirectoryListing();
  readonly #accounts = new AccountNames();
  readonly #name = new NameBuffer();
  readonly #levels: Level[] = [];
  readonly #firstNames = new Map<string, { readonly path: string; left: number }>();
  #started = false;
  /** The directory that the cursor stands on and goes into next. */
  #enter: Pick<Level, 'node' | 'fileSystem'> | undefined;
  // How to reach the object that the cursor stands on.
  #directory: number = at.currentDirectory;
  #lookup = '';
  #follow = false;

  /** What the kernel says of the object. Filled anew by `next()`: copy what is to stay. */
  readonly status: FileStatus = new FileStatus();
  /** Stored path; '.' for the top of the tree itself. */
  path = '';
  /** Path on this machine. */
  realPath = '';
  type: FileType = 'directory';
  /** Of a hardlink: the stored path of the first name. */
  linkTarget: string | undefined;

  constructor(options: WalkOptions) {
    this.#options = options;
    this.#tagNames = new Set(
      (options.excludeIfPresent ?? []).map((name) => Buffer.from(name).toString('latin1')),
    );
    this.#checkRoots(options.roots);
  }

  /** Moves to the next object; false at the end. */
  next(): boolean {
    if (!this.#started) {
      this.#started = true;
      if (this.#stepOnto(undefined, this.#options.roots)) return true;
    }
    for (;;) {
      if (this.#enter) this.#openDirectory(this.#enter);
      const level = this.#levels.at(-1);
      if (!level) return false;
      if (level.index === level.names.length) {
        this.#leave();
        continue;
      }
      const name = level.names[level.index++]!;
      if (level.node) {
        if (this.#stepOnto(level, level.node.children.get(name)!)) return true;
      } else if (this.#stepInside(level, name)) return true;
    }
  }

  /** Does not go into the directory that the cursor stands on. */
  skipDirectory(): void {
    this.#enter = undefined;
  }

  /** Closes what is open. Needed only if the walk is given up before its end. */
  close(): void {
    this.#started = true;
    this.#enter = undefined;
    for (const level of this.#levels.splice(0)) if (level.fd >= 0) this.#calls.close(level.fd);
  }

  /** Of the owner; '' if the number has no name. */
  userName(): string {
    return this.#accounts.userName(this.status.uid);
  }

  groupName(): string {
    return this.#accounts.groupName(this.status.gid);
  }

  /**
   * The entry to keep of the object that the cursor stands on. Of a regular file it has only what the walk knows: who
   * reads the content gives, in `file`, what the open file said. undefined, and reported, if it cannot be read.
   */
  entry(file: OpenFileFacts = {}): FileEntry | undefined {
    const { type } = this;
    const status = file.status ?? this.status;
    try {
      const isDevice = type === 'character-device' || type === 'block-device';
      const target = type === 'symlink' ? this.#readLink() : bytesOf(this.linkTarget);
      const xattrs = type === 'file' || type === 'hardlink' ? file.xattrs : this.#readXattrs();
      return {
        path: Buffer.from(this.path, 'latin1'),
        type,
        mode: status.mode,
        uid: status.uid,
        gid: status.gid,
        user: this.#accounts.userName(status.uid),
        group: this.#accounts.groupName(status.gid),
        mtimeNs: status.mtimeNs,
        size: type === 'file' ? status.size : 0,
        ...(target && { target }),
        ...(isDevice && { device: [status.deviceMajor, status.deviceMinor] as const }),
        ...(xattrs && { xattrs }),
        ...(file.holes?.length && { holes: file.holes }),
      };
    } catch (error) {
      this.#report(error);
      return undefined;
    }
  }

  // A root, or a directory on the way to one. Reached by its own path, as roots may come from / and from here.
  #stepOnto(level: Level | undefined, node: RootNode): boolean {
    this.#reach(at.currentDirectory, node.realPath, node.follow);
    this.path = level ? level.prefix + node.name : '.';
    this.realPath = node.realPath;
    const { status } = this;
    if (!status.readAt(this.#directory, this.#name.latin1(node.realPath), node.follow)) {
      this.#report(lastError('statx'));
      return false;
    }
    if (node.isRoot && level && this.#options.excludes?.excludes(this.path, status.isDirectory)) {
      this.#problem('skipped', 'an exclude pattern leaves out what was asked for by name');
      return false;
    }
    if (!status.isDirectory) {
      if (node.isRoot) return this.#stepOntoFile();
      this.#problem('vanished', 'it is no longer a directory');
      return false;
    }
    this.type = 'directory';
    this.#enter = { node: node.isRoot ? undefined : node, fileSystem: status.fileSystem };
    return node.isRoot || (level !== undefined && this.#options.parents === true);
  }

  #stepInside(level: Level, name: string): boolean {
    this.#reach(level.fd, name, false);
    this.path = level.prefix + name;
    this.realPath = level.realPrefix + name;
    const { status } = this;
    if (!status.readAt(level.fd, this.#name.latin1(name))) {
      this.#report(lastError('statx'));
      return false;
    }
    const { excludes, oneFileSystem } = this.#options;
    if (excludes?.excludes(this.path, status.isDirectory)) return false;
    if (!status.isDirectory) return this.#stepOntoFile();
    this.type = 'directory';
    if (oneFileSystem !== true || status.fileSystem === level.fileSystem)
      this.#enter = { node: undefined, fileSystem: level.fileSystem };
    return true;
  }

  #stepOntoFile(): true {
    const { status } = this;
    this.type = status.type;
    if (status.links < 2) return true;
    const first = this.#firstNames.get(status.identity);
    if (!first) this.#firstNames.set(status.identity, { path: this.path, left: status.links - 1 });
    else {
      this.type = 'hardlink';
      this.linkTarget = first.path;
      if (--first.left === 0) this.#firstNames.delete(status.identity);
    }
    return true;
  }

  #reach(directory: number, lookup: string, follow: boolean): void {
    this.#directory = directory;
    this.#lookup = lookup;
    this.#follow = follow;
    this.linkTarget = undefined;
  }

  #openDirectory({ node, fileSystem }: Pick<Level, 'node' | 'fileSystem'>): void {
    this.#enter = undefined;
    let fd: number = at.currentDirectory;
    let names: readonly string[];
    try {
      if (node) names = [...node.children.keys()].sort();
      else {
        fd = openDirectory(this.#directory, this.#name.latin1(this.#lookup), this.#follow);
        names = this.#withoutTagged(fd, this.#listing.read(fd));
      }
    } catch (error) {
      if (fd >= 0) this.#calls.close(fd);
      this.#report(error);
      return;
    }
    this.#levels.push({
      fd,
      prefix: this.path === '.' ? '' : `${this.path}/`,
      realPrefix: this.realPath.endsWith('/') ? this.realPath : `${this.realPath}/`,
      names,
      index: 0,
      identity: this.status.identity,
      node,
      fileSystem,
    });
    const upper = this.#levels.at(-1 - openLevels);
    if (upper && upper.fd >= 0) {
      this.#calls.close(upper.fd);
      upper.fd = closed;
    }
  }

  #leave(): void {
    const level = this.#levels.pop()!;
    const parent = this.#levels.at(-1);
    if (parent?.fd === closed) this.#openAgain(parent, level);
    if (level.fd >= 0) this.#calls.close(level.fd);
  }

  #openAgain(parent: Level, child: Level): void {
    if (child.fd >= 0) {
      const fd = this.#calls.openat(child.fd, this.#name.latin1('..'), flag.directory | flag.closeOnExec, 0);
      if (fd >= 0) {
        parent.fd = fd;
        if (isDirectoryOf(fd, parent.identity)) return;
        this.#calls.close(fd);
        parent.fd = closed;
      }
    }
    // It was moved while we were below it: what is left of it cannot be found again.
    parent.index = parent.names.length;
    this.path = parent.prefix.slice(0, -1);
    this.#problem('vanished', 'it was moved while it was read');
  }

  #withoutTagged(fd: number, names: readonly string[]): readonly string[] {
    if (this.#tagNames.size > 0) {
      const tags = names.filter((name) => this.#tagNames.has(name));
      if (tags.length > 0) return tags;
    }
    if (this.#options.excludeCaches && names.includes(cacheTagName) && isCacheDirectory(fd))
      return [cacheTagName];
    return names;
  }

  #readLink(): Buffer {
    // One byte more than it was: a full buffer means that it has grown since.
    let bytes = Buffer.alloc(this.status.size + 1);
    for (;;) {
      const address = this.#name.latin1(this.#lookup);
      const length = this.#calls.readlinkat(this.#directory, address, bytes, bytes.length);
      if (length < 0) throw lastError('readlinkat');
      if (length < bytes.length) return bytes.subarray(0, length);
      bytes = Buffer.alloc(maximumLinkLength);
    }
  }

  // By path, since a fifo or a device must not be opened. The parent is held by its descriptor.
  #readXattrs(): ReadonlyMap<string, Buffer> | undefined {
    const path = this.#directory >= 0 ? `/proc/self/fd/${this.#directory}/${this.#lookup}` : this.#lookup;
    return readXattrsAt(Buffer.from(path, 'latin1'), this.#follow);
  }

  #checkRoots(node: RootNode): void {
    if (
      node.isRoot &&
      !this.status.readAt(at.currentDirectory, this.#name.latin1(node.realPath), node.follow)
    ) {
      const error = lastError('statx');
      const { message } = problemOf(Buffer.alloc(0), error);
      const shown = Buffer.from(node.realPath, 'latin1').toString();
      throw new SalvageError(
        'failed',
        `Cannot read "${shown}": ${error.code === 'ENOENT' ? 'no such file or directory' : message}`,
        { cause: error },
      );
    }
    for (const child of node.children.values()) this.#checkRoots(child);
  }

  #report(error: unknown): void {
    this.#options.onProblem(problemOf(Buffer.from(this.path, 'latin1'), error));
  }

  #problem(what: SourceProblemKind, message: string): void {
    this.#options.onProblem({ path: Buffer.from(this.path, 'latin1'), what, message });
  }
}

/** The kernel gives no longer text of a link than a path may be. */
const maximumLinkLength = 65_536;

function bytesOf(latin1: string | undefined): Buffer | undefined {
  return latin1 === undefined ? undefined : Buffer.from(latin1, 'latin1');
}

function isDirectoryOf(fd: number, identity: string): boolean {
  const status = new FileStatus();
  return status.readFd(fd) && status.identity === identity;
}
