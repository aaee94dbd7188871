import { isUtf8 } from 'node:buffer';
import type { Extent, FileEntry, FileType } from '../posix/file-entry.ts';
import { dataExtents } from '../posix/holes.ts';
import { encodePaxRecord, formatPaxTime } from './pax-records.ts';
import { aclAttributes, formatAcl } from './posix-acl.ts';
import {
  blockSize,
  encodeHeaderBlock,
  maxOctalId,
  maxOctalSize,
  paddingAfter,
  splitName,
} from './tar-header.ts';

/** What follows the last entry. */
export const endOfArchive: Buffer = Buffer.alloc(2 * blockSize);

/** The types that a tar archive can hold: everything but sockets. */
const typeFlags: Partial<Record<FileType, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  'character-device': '3',
  'block-device': '4',
  directory: '5',
  fifo: '6',
};
const none = Buffer.alloc(0);
const top = Buffer.from('.');

export function canArchive(type: FileType): boolean {
  return typeFlags[type] !== undefined;
}

/**
 * Everything that precedes an entry's content: a ustar header where all fits, otherwise a pax extended header with
 * what does not, and for a file with holes the map of its data (GNU sparse format 1.0). After it come the bytes between
 * the holes, then zeros up to a whole block (`paddingAfter`).
 *
 * The header fields hold raw bytes, so that names which are not UTF-8 pass unchanged through every tar. ACLs are
 * written as text (SCHILY.acl.*), which GNU tar and bsdtar restore; other extended attributes as SCHILY.xattr.*.
 */
export function encodeTarHeader(entry: FileEntry): Buffer {
  const type = typeFlags[entry.type];
  if (type === undefined) throw new RangeError(`a tar archive holds no ${entry.type}`);
  const pax: Buffer[] = [];
  const names: Buffer[] = [];
  const addName = (key: string, value: Buffer): void => {
    pax.push(encodePaxRecord(key, value));
    names.push(value);
  };
  const path = entry.type === 'directory' ? directoryName(entry.path) : entry.path;
  const base = baseName(entry.path);

  const extents = entry.holes?.length ? [...dataExtents(entry.size, entry.holes)] : undefined;
  const map = extents ? encodeSparseMap(extents, entry.size) : none;
  let size = 0;
  if (entry.type === 'file') size = extents ? map.length + sumOfLengths(extents) : entry.size;

  let place = splitName(path);
  if (extents) {
    place = { name: Buffer.concat([Buffer.from('GNUSparseFile.0/'), base]).subarray(0, 100), prefix: none };
    pax.push(encodePaxRecord('GNU.sparse.major', '1'), encodePaxRecord('GNU.sparse.minor', '0'));
    addName('GNU.sparse.name', path);
    pax.push(encodePaxRecord('GNU.sparse.realsize', String(entry.size)));
  } else if (!place) {
    addName('path', path);
    place = { name: base.subarray(0, 100), prefix: none };
  }
  const linkname = entry.target ?? none;
  if (linkname.length > 100) addName('linkpath', linkname);
  const [user, group] = [Buffer.from(entry.user), Buffer.from(entry.group)];
  if (user.length > 31) addName('uname', user);
  if (group.length > 31) addName('gname', group);
  if (entry.uid > maxOctalId) pax.push(encodePaxRecord('uid', String(entry.uid)));
  if (entry.gid > maxOctalId) pax.push(encodePaxRecord('gid', String(entry.gid)));
  if (size > maxOctalSize) pax.push(encodePaxRecord('size', String(size)));
  const seconds = Number(entry.mtimeNs / 1_000_000_000n);
  const plainTime = entry.mtimeNs >= 0n && seconds <= maxOctalSize;
  if (!plainTime || entry.mtimeNs % 1_000_000_000n !== 0n) {
    pax.push(encodePaxRecord('mtime', formatPaxTime(entry.mtimeNs)));
  }
  const [major, minor] = entry.device ?? [0, 0];
  if (major > maxOctalId) pax.push(encodePaxRecord('SCHILY.devmajor', String(major)));
  if (minor > maxOctalId) pax.push(encodePaxRecord('SCHILY.devminor', String(minor)));
  if (entry.xattrs) pax.push(...encodeAttributes(entry.xattrs));
  // GNU tar warns of a keyword it does not know, so this one is written only where bsdtar needs it.
  if (names.some((name) => !isUtf8(name))) pax.unshift(encodePaxRecord('hdrcharset', 'BINARY'));

  const common = {
    mode: entry.mode & 0o7777,
    // Readers without pax must not take a large number for a small one, least of all for root's.
    uid: Math.min(entry.uid, maxOctalId),
    gid: Math.min(entry.gid, maxOctalId),
    mtime: plainTime ? seconds : 0,
    user: user.length > 31 ? none : user,
    group: group.length > 31 ? none : group,
  };
  const header = encodeHeaderBlock({
    ...common,
    ...place,
    size: size > maxOctalSize ? 0 : size,
    type,
    linkname: linkname.subarray(0, 100),
    deviceMajor: Math.min(major, maxOctalId),
    deviceMinor: Math.min(minor, maxOctalId),
  });
  if (pax.length === 0) return map.length > 0 ? Buffer.concat([header, map]) : header;

  const records = Buffer.concat(pax);
  const paxHeader = encodeHeaderBlock({
    ...common,
    mode: 0o644,
    name: Buffer.concat([Buffer.from('PaxHeaders.0/'), base]).subarray(0, 100),
    prefix: none,
    size: records.length,
    type: 'x',
    linkname: none,
    deviceMajor: 0,
    deviceMinor: 0,
  });
  return Buffer.concat([paxHeader, records, Buffer.alloc(paddingAfter(records.length)), header, map]);
}

function sumOfLengths(extents: readonly Extent[]): number {
  return extents.reduce((sum, [, length]) => sum + length, 0);
}

/**
 * The number of extents, then offset and length of each, as decimal lines in whole blocks. A file that ends in a hole
 * gets an empty extent at its end: GNU tar learns the length from it.
 */
function encodeSparseMap(extents: readonly Extent[], size: number): Buffer {
  const last = extents.at(-1);
  const all = last && last[0] + last[1] === size ? extents : [...extents, [size, 0] as const];
  const text = Buffer.from([all.length, ...all.flat()].map((number) => `${number}\n`).join(''));
  return Buffer.concat([text, Buffer.alloc(paddingAfter(text.length))]);
}

function* encodeAttributes(xattrs: ReadonlyMap<string, Buffer>): Generator<Buffer> {
  for (const [name, value] of xattrs) {
    const aclKey = aclAttributes[name as keyof typeof aclAttributes];
    const acl = aclKey && formatAcl(value);
    if (acl) yield encodePaxRecord(aclKey, acl);
    // '=' ends a key, so GNU tar writes it in a name as %3D, and '%' as %25.
    else yield encodePaxRecord(`SCHILY.xattr.${name.replaceAll('%', '%25').replaceAll('=', '%3D')}`, value);
  }
}

/** Directories end in a slash; the top of the tree, which has no name, is './'. */
function directoryName(path: Buffer): Buffer {
  return path.length === 0 || path.equals(top) ? Buffer.from('./') : Buffer.concat([path, Buffer.from('/')]);
}

function baseName(path: Buffer): Buffer {
  return path.subarray(path.lastIndexOf(0x2f) + 1);
}
