import type { AccountNames } from '../../posix/account-names.ts';
import type { FileEntry } from '../../posix/file-entry.ts';
import type { SourceFile } from '../../source/source-file.ts';

/** The entry of an open file, as the file itself says it is. Throws SystemCallError. */
export function describeFile(
  path: string,
  file: SourceFile,
  accounts: AccountNames,
  maxSize: number = Infinity,
): FileEntry {
  const { status } = file;
  const size = Math.min(status.size, maxSize);
  const xattrs = file.xattrs();
  const holes = size === status.size ? file.holes() : [];
  return {
    path: Buffer.from(path, 'latin1'),
    type: 'file',
    mode: status.mode,
    uid: status.uid,
    gid: status.gid,
    user: accounts.userName(status.uid),
    group: accounts.groupName(status.gid),
    mtimeNs: status.mtimeNs,
    size,
    ...(xattrs && { xattrs }),
    ...(holes.length > 0 && { holes }),
  };
}
