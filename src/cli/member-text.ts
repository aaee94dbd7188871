import { isUtf8 } from 'node:buffer';
import type { FileEntry, FileType } from '../posix/file-entry.ts';
import { escapeForTerminal } from '../ui/escape.ts';

const letters: Readonly<Record<FileType, string>> = {
  file: '-',
  directory: 'd',
  symlink: 'l',
  hardlink: 'h',
  fifo: 'p',
  socket: 's',
  'character-device': 'c',
  'block-device': 'b',
};

/** One line on a member, as `tar -tv` prints it: `-rw-r--r-- ada/users     1234 2026-11-23 09:15 name`. Escaped. */
export function describeMember(entry: FileEntry): string {
  const owner = `${entry.user || entry.uid}/${entry.group || entry.gid}`;
  const size = entry.device ? entry.device.join(',') : String(entry.size);
  const name = escapeForTerminal(entry.path) + (entry.type === 'directory' ? '/' : '');
  const arrow = entry.type === 'symlink' ? ' -> ' : ' link to ';
  const target = entry.target ? arrow + escapeForTerminal(entry.target) : '';
  return [
    letters[entry.type] + describeMode(entry.mode),
    escapeForTerminal(owner),
    size.padStart(Math.max(1, 19 - owner.length)),
    describeTime(entry.mtimeNs),
    name + target,
  ].join(' ');
}

/** The member for machines. Names that are not UTF-8 are given in base64 as well. */
export function memberToJson(entry: FileEntry): Record<string, unknown> {
  const { path, target, type, mode, uid, gid, user, group, size, device, mtimeNs, xattrs, holes } = entry;
  return {
    ...name('path', path),
    type,
    mode: mode.toString(8).padStart(4, '0'),
    uid,
    gid,
    user,
    group,
    size,
    mtime: formatNanoseconds(mtimeNs),
    ...(target && name('target', target)),
    ...(device && { device }),
    ...(xattrs && {
      xattrs: Object.fromEntries([...xattrs].map(([key, value]) => [key, value.toString('base64')])),
    }),
    ...(holes && { holes }),
  };
}

function name(key: string, bytes: Buffer): Record<string, string> {
  const text = { [key]: bytes.toString('utf8') };
  return isUtf8(bytes) ? text : { ...text, [`${key}Base64`]: bytes.toString('base64') };
}

function describeMode(mode: number): string {
  const bits = Array.from('rwxrwxrwx', (letter, index) => (mode & (0o400 >> index) ? letter : '-'));
  const special = [
    [0o4000, 2, 's', 'S'],
    [0o2000, 5, 's', 'S'],
    [0o1000, 8, 't', 'T'],
  ] as const;
  for (const [bit, index, executable, plain] of special) {
    if (mode & bit) bits[index] = bits[index] === 'x' ? executable : plain;
  }
  return bits.join('');
}

/** Local time to the minute; a time that no calendar has is shown in seconds. */
function describeTime(mtimeNs: bigint): string {
  const time = new Date(Number(mtimeNs / 1_000_000n));
  if (Number.isNaN(time.getTime())) return `@${mtimeNs / 1_000_000_000n}`;
  const part = (number: number): string => String(number).padStart(2, '0');
  const date = `${time.getFullYear()}-${part(time.getMonth() + 1)}-${part(time.getDate())}`;
  return `${date} ${part(time.getHours())}:${part(time.getMinutes())}`;
}

/** Seconds since 1970 with nine decimals, as text: a JSON number would lose the nanoseconds. */
function formatNanoseconds(ns: bigint): string {
  const absolute = ns < 0n ? -ns : ns;
  const fraction = String(absolute % 1_000_000_000n).padStart(9, '0');
  return `${ns < 0n ? '-' : ''}${absolute / 1_000_000_000n}.${fraction}`;
}
