import type { FileType } from '../../posix/file-entry.ts';
import type { FileStatus } from '../../posix/file-status.ts';
import type { FileState } from '../../repository/cache/listing.ts';

const typeBits: Readonly<Record<FileType, number>> = {
  fifo: 0o010000,
  'character-device': 0o020000,
  directory: 0o040000,
  'block-device': 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
  // No type of the kernel's: a further name is not the same as the first one.
  hardlink: 0o170000,
};

/** No file has so many nanoseconds: whatever is listed with them is read again. */
const unsettledNanoseconds = 0xffff_ffff;
/** Of a directory the size says nothing, and some file systems change it at will. */
const noSize = 0;

/** What the listing keeps of an object, to know it again by. */
export function fileStateOf(status: FileStatus, type: FileType): FileState {
  return {
    mode: typeBits[type] | status.mode,
    size: type === 'directory' ? noSize : status.size,
    mtimeSeconds: status.mtimeSeconds,
    mtimeNanoseconds: status.mtimeNanoseconds,
    ctimeSeconds: status.ctimeSeconds,
    ctimeNanoseconds: status.ctimeNanoseconds,
    inode: status.inode,
  };
}

/** The same for what is to be read again by the next run. */
export function unsettled(state: FileState): FileState {
  return { ...state, ctimeNanoseconds: unsettledNanoseconds };
}
