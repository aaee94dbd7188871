export type FileType =
  | 'file'
  | 'directory'
  | 'symlink'
  | 'hardlink'
  | 'fifo'
  | 'socket'
  | 'character-device'
  | 'block-device';

/** A byte range [offset, length]. */
export type Extent = readonly [offset: number, length: number];

/**
 * What an archive or a snapshot keeps of one file-system object. Walkers make it, tar and tree segments carry it,
 * TargetDirectory makes the object again from it.
 */
export interface FileEntry {
  /** Relative to the root of the tree, parts joined by '/', neither leading nor trailing slash. Bytes, maybe not UTF-8. */
  readonly path: Buffer;
  readonly type: FileType;
  /** The low twelve bits: permissions, setuid, setgid, sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Names of owner and group on the source host; '' if they have none. */
  readonly user: string;
  readonly group: string;
  /** Nanoseconds since 1970-01-01T00:00:00Z; may be negative. */
  readonly mtimeNs: bigint;
  /** Content bytes of a file, holes included; 0 for every other type. */
  readonly size: number;
  /** symlink: its text, as it is; hardlink: the path of the first name in the same tree. */
  readonly target?: Buffer;
  readonly device?: readonly [major: number, minor: number];
  /** Extended attributes, POSIX ACLs among them, by name. */
  readonly xattrs?: ReadonlyMap<string, Buffer>;
  /** Holes of a sparse file, ascending, not touching. */
  readonly holes?: readonly Extent[];
}
