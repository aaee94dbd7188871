import type { FileEntry, FileType } from '../posix/file-entry.ts';
import { escapeForTerminal } from '../ui/escape.ts';

const letters: Readonly<Record<FileType, string>> = {
  file: '-',
  directory: 'd',
  symlink: 'l',
  hardlink: '-',
  fifo: 'p',
  socket: 's',
  'character-device': 'c',
  'block-device': 'b',
};

/** One line as `ls -l` has it, with time in UTC to the second. */
export function longLine(entry: FileEntry): string {
  const { type, mode, user, group, uid, gid, size, device } = entry;
  const amount = device ? device.join(', ') : String(size);
  const owner = escapeForTerminal(`${user || uid} ${group || gid}`);
  return `${letters[type]}${modeText(mode)} ${owner} ${amount.padStart(12)} ${timeText(entry.mtimeNs)} ${nameText(entry)}`;
}

/** The path, and where a link leads. */
export function nameText({ path, type, target }: FileEntry): string {
  const name = escapeForTerminal(path);
  if (!target) return type === 'directory' ? `${name}/` : name;
  return `${name} ${type === 'hardlink' ? 'link to' : '->'} ${escapeForTerminal(target)}`;
}

/** `2026-11-23 10:15:00`, UTC. */
function timeText(ns: bigint): string {
  const date = new Date(Number(ns / 1_000_000n));
  if (Number.isNaN(date.getTime())) return `@${ns / 1_000_000_000n}`;
  return date
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, '');
}

/** An entry as JSON: what a tree segment has of it, without content. A path that is not UTF-8 comes as `path64`. */
export function entryJson(entry: FileEntry): Record<string, unknown> {
  const { path, type, mode, uid, gid, user, group, mtimeNs, size, target, device } = entry;
  const time = `${mtimeNs / 1_000_000_000n}`;
  return {
    ...bytesJson('path', path),
    type,
    mode,
    uid,
    gid,
    ...(user && { user }),
    ...(group && { group }),
    mtime: new Date(Number(mtimeNs / 1_000_000n)).toJSON() ?? time,
    ...(type === 'file' && { size }),
    ...(target && bytesJson('target', target)),
    ...(device && { device }),
  };
}

/** Bytes as a member of a JSON object: as text, or in base64 under `NAME64` where they are not UTF-8. */
export function bytesJson(name: string, bytes: Buffer): Record<string, string> {
  const text = bytes.toString();
  return Buffer.from(text).equals(bytes) ? { [name]: text } : { [`${name}64`]: bytes.toString('base64') };
}

function modeText(mode: number): string {
  const bits = 'rwxrwxrwx'.split('').map((letter, at) => ((mode >> (8 - at)) & 1 ? letter : '-'));
  const special: readonly (readonly [bit: number, at: number, set: string, only: string])[] = [
    [0o4000, 2, 's', 'S'],
    [0o2000, 5, 's', 'S'],
    [0o1000, 8, 't', 'T'],
  ];
  for (const [bit, at, set, only] of special) if (mode & bit) bits[at] = bits[at] === 'x' ? set : only;
  return bits.join('');
}
