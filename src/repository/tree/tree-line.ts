import { isUtf8 } from 'node:buffer';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { Extent, FileEntry } from '../../posix/file-entry.ts';
import { limits } from '../limits.ts';
import { rangeBytes, type ContentRanges } from './content-ranges.ts';

/**
 * One line of a tree segment before its references are numbered: an entry, or what continues one. `head` is its JSON text
 * up to the content (`{"path":"a","type":"file",…`), which stays the same as long as the file does, whatever packs it is
 * in: so a run copies it from the last listing.
 */
export interface TreeLine {
  readonly path: Buffer;
  readonly head: string | Buffer;
  readonly ranges: ContentRanges;
}

const plainText = /^[ !#-[\]-~]*$/;
// A head leaves room for the content of its line.
const largestHeadBytes = limits.line - 256 * 1024;

/**
 * The lines of an entry whose data (all content outside its holes) is at `ranges`: one, unless it has more ranges or holes
 * than a line takes. @throws failed if its extended attributes are too large for a line
 */
export function treeLines(entry: FileEntry, ranges: ContentRanges): TreeLine[] {
  const { path } = entry;
  const lines: TreeLine[] = [];
  const holes = entry.holes ?? [];
  const rangesPerLine = limits.rangesPerLine * rangeBytes;
  let hole = 0;
  let at = 0;
  do {
    const start = lines.length === 0 ? entryHead(entry) : `{"continues${textMember(path)}`;
    const head = start + holesMember(holes.slice(hole, hole + limits.holesPerLine));
    hole += limits.holesPerLine;
    // Content comes after all holes, so that a reader knows where it goes.
    const count = hole >= holes.length ? rangesPerLine : 0;
    lines.push({ path, head, ranges: ranges.subarray(at, at + count) });
    at += count;
  } while (hole < holes.length || at < ranges.length);
  return lines;
}

function entryHead(entry: FileEntry): string {
  let head =
    `{"path${textMember(entry.path)},"type":"${entry.type}","mode":${entry.mode}` +
    `,"uid":${entry.uid},"gid":${entry.gid}`;
  if (entry.user !== '') head += `,"user":${jsonString(entry.user)}`;
  if (entry.group !== '') head += `,"group":${jsonString(entry.group)}`;
  head += `,"mtime":"${formatTime(entry.mtimeNs)}"`;
  if (entry.type === 'file') head += `,"size":${entry.size}`;
  if (entry.target) head += `,"target${textMember(entry.target)}`;
  if (entry.device) head += `,"device":[${entry.device[0]},${entry.device[1]}]`;
  if (entry.xattrs && entry.xattrs.size > 0) {
    const members = [...entry.xattrs].map(
      ([name, value]) => `${JSON.stringify(name)}:"${value.toString('base64')}"`,
    );
    head += `,"xattrs":{${members.sort().join(',')}}`;
    if (head.length > largestHeadBytes)
      throw new SalvageError(
        'failed',
        `Cannot back up the extended attributes of ${JSON.stringify(entry.path.toString())}: they take more than ${largestHeadBytes} bytes`,
        { hint: 'List them with getfattr -d -m - and remove what is not needed.' },
      );
  }
  return head;
}

function holesMember(holes: readonly Extent[]): string {
  if (holes.length === 0) return '';
  return `,"holes":[${holes.map(([offset, length]) => `[${offset},${length}]`).join(',')}]`;
}

/** The rest of a member whose name has been begun: `":"text"`, or `64":"base64"` for bytes that are not UTF-8. */
function textMember(bytes: Buffer): string {
  const text = bytes.toString('latin1');
  if (plainText.test(text)) return `":"${text}"`;
  return isUtf8(bytes) ? `":${JSON.stringify(bytes.toString())}` : `64":"${bytes.toString('base64')}"`;
}

function jsonString(text: string): string {
  return plainText.test(text) ? `"${text}"` : JSON.stringify(text.toWellFormed());
}

/** Decimal seconds with nine digits after the point. */
export function formatTime(ns: bigint): string {
  const digits = String(ns < 0n ? -ns : ns).padStart(10, '0');
  return `${ns < 0n ? '-' : ''}${digits.slice(0, -9)}.${digits.slice(-9)}`;
}

/** Nanoseconds, or undefined if this is not what `formatTime` writes. */
export function parseTime(text: string): bigint | undefined {
  const match = /^(-?)(0|[1-9]\d{0,11})\.(\d{9})$/.exec(text);
  if (!match || text === '-0.000000000') return undefined;
  const ns = BigInt(match[2]!) * 1_000_000_000n + BigInt(match[3]!);
  return match[1] ? -ns : ns;
}
