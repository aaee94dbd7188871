import { isUtf8 } from 'node:buffer';
import { asBuffer } from '../../bytes/bytes.ts';
import type { Extent, FileEntry, FileType } from '../../posix/file-entry.ts';
import { damagedObject } from '../damage.ts';
import { isObjectDigest, type PackId } from '../ids.ts';
import { limits } from '../limits.ts';
import type { PackTable } from '../pack/pack-table.ts';
import { noRanges, rangeBytes, type ContentRanges } from './content-ranges.ts';
import { compareTreePaths, isBelow, isTreePath } from './tree-path.ts';
import { parseTime } from './tree-line.ts';

/** One line of a tree segment. */
export interface TreeRecord {
  readonly path: Buffer;
  /** Undefined if the line continues the file `path`. Its holes are those of its first line; `holes` has each line's. */
  readonly entry: FileEntry | undefined;
  readonly ranges: ContentRanges;
  readonly holes: readonly Extent[];
}

type Json = Readonly<Record<string, unknown>>;

const entryMembers = new Set([
  'path',
  'path64',
  'type',
  'mode',
  'uid',
  'gid',
  'user',
  'group',
  'mtime',
  'size',
  'target',
  'target64',
  'device',
  'xattrs',
  'flags',
  'holes',
  'content',
]);
const continuationMembers = new Set(['continues', 'continues64', 'holes', 'content']);
const types: ReadonlySet<unknown> = new Set<FileType>([
  'file',
  'directory',
  'symlink',
  'hardlink',
  'fifo',
  'socket',
  'character-device',
  'block-device',
]);
const canonicalDigest = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;
const canonicalBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const largestNumber32 = 2 ** 32 - 1;

/**
 * Reads the segments of one tree, in order, and refuses with 'damaged' all that docs/design/format.md "Tree segments"
 * does not allow: the paths it returns are confined and in order, no path comes twice, nothing lies below what is not a
 * directory, ranges are within what a pack can hold, and the content of every file adds up to its size.
 */
export class TreeDecoder {
  readonly #packs: PackTable;
  #previous: { readonly path: Buffer; readonly type: FileType } | undefined;
  #midTree: boolean;
  /** Bytes of the current file still to be accounted for; undefined if its first line was not seen. */
  #missing: number | undefined = 0;
  #lastHoleEnd = 0;
  #contentSeen = false;
  #size = 0;

  /**
   * Packs are numbered by `packs`, which learns those it does not know. `midTree`: the first segment given is not the
   * first of its tree, and may go on with a file that began before it.
   */
  constructor(packs: PackTable, options: { readonly midTree?: boolean } = {}) {
    this.#packs = packs;
    this.#midTree = options.midTree ?? false;
  }

  /** The lines of the next segment; `name` is for messages. @throws damaged */
  decode(segment: Uint8Array, name: string): TreeRecord[] {
    try {
      return this.#decode(segment);
    } catch (error) {
      if (error instanceof Unacceptable) throw damagedObject(name, `its tree segment ${error.message}`);
      throw error;
    }
  }

  /** To be called after the last segment of the tree. @throws damaged if the last file is not complete */
  finish(name: string): void {
    if (this.#missing)
      throw damagedObject(name, `its tree segment ends ${this.#missing} bytes before its last file does`);
  }

  #decode(segment: Uint8Array): TreeRecord[] {
    if (segment.length > limits.segment) throw new Unacceptable('is larger than a segment may be');
    if (!isUtf8(segment)) throw new Unacceptable('is not UTF-8');
    const lines = asBuffer(segment).toString().split('\n');
    if (lines.pop() !== '') throw new Unacceptable('does not end with a line feed');
    const packs = this.#decodePacks(parseLine(lines[0], 1));
    const records: TreeRecord[] = [];
    for (let index = 1; index < lines.length; index++) {
      try {
        records.push(this.#decodeLine(parseLine(lines[index], index + 1), packs));
      } catch (error) {
        if (error instanceof Unacceptable && !error.placed)
          throw new Unacceptable(`has in line ${index + 1} ${error.message}`, true);
        throw error;
      }
      this.#midTree = false;
    }
    if (records.length === 0) throw new Unacceptable('has no entries');
    return records;
  }

  #decodePacks(line: Json): number[] {
    const { packs } = line;
    if (Object.keys(line).length !== 1 || !Array.isArray(packs) || packs.length > limits.packsPerSegment)
      throw new Unacceptable('does not begin with its list of packs');
    return packs.map((id: unknown) => {
      if (typeof id !== 'string' || !isObjectDigest(id)) throw new Unacceptable('names a pack that is none');
      return this.#packs.numberOf(id as PackId);
    });
  }

  #decodeLine(line: Json, packs: readonly number[]): TreeRecord {
    if ('continues' in line || 'continues64' in line) return this.#decodeContinuation(line, packs);
    for (const member in line)
      if (!entryMembers.has(member)) throw new Unacceptable(`the unknown member ${quote(member)}`);
    if (this.#missing) throw new Unacceptable('another entry before the content of a file is complete');
    const path = bytesMember(line, 'path')!;
    if (!isTreePath(path)) throw new Unacceptable(`the impossible path ${quote(path.toString())}`);
    this.#checkOrder(path);
    const { type, mode, uid, gid } = line;
    if (!types.has(type)) throw new Unacceptable(`the unknown type ${quote(String(type))}`);
    if (line['flags'] !== undefined && typeof line['flags'] !== 'string')
      throw new Unacceptable('flags that are no text');
    const mtimeNs = typeof line['mtime'] === 'string' ? parseTime(line['mtime']) : undefined;
    if (mtimeNs === undefined) throw new Unacceptable('no proper mtime');
    const fileType = type as FileType;
    const isFile = fileType === 'file';
    if (isFile !== 'size' in line)
      throw new Unacceptable('a size where none belongs, or none where one does');
    this.#size = isFile ? integer(line['size'], Number.MAX_SAFE_INTEGER, 'size') : 0;
    this.#missing = this.#size;
    this.#lastHoleEnd = 0;
    this.#contentSeen = false;
    const holes = this.#decodeHoles(line['holes']);
    const ranges = this.#decodeContent(line['content'], packs);
    const target = bytesMember(line, 'target');
    if ((fileType === 'symlink' || fileType === 'hardlink') !== (target !== undefined))
      throw new Unacceptable('a target where none belongs, or none where one does');
    if (
      target &&
      (target.length === 0 ||
        target.length > limits.path ||
        target.includes(0) ||
        (fileType === 'hardlink' && !isTreePath(target)))
    )
      throw new Unacceptable('an impossible target');
    const isDevice = fileType === 'character-device' || fileType === 'block-device';
    if (isDevice !== 'device' in line)
      throw new Unacceptable('a device where none belongs, or none where one does');
    this.#previous = { path, type: fileType };
    const entry: FileEntry = {
      path,
      type: fileType,
      mode: integer(mode, 0o7777, 'mode'),
      uid: integer(uid, largestNumber32, 'uid'),
      gid: integer(gid, largestNumber32, 'gid'),
      user: nameMember(line['user']),
      group: nameMember(line['group']),
      mtimeNs,
      size: this.#size,
      ...(target && { target }),
      ...(isDevice && { device: decodeDevice(line['device']) }),
      ...(line['xattrs'] !== undefined && { xattrs: decodeXattrs(line['xattrs']) }),
      ...(holes.length > 0 && { holes }),
    };
    return { path, entry, ranges, holes };
  }

  #decodeContinuation(line: Json, packs: readonly number[]): TreeRecord {
    for (const member in line)
      if (!continuationMembers.has(member)) throw new Unacceptable(`the unknown member ${quote(member)}`);
    const path = bytesMember(line, 'continues')!;
    if (this.#midTree) {
      if (!isTreePath(path)) throw new Unacceptable(`the impossible path ${quote(path.toString())}`);
      this.#previous = { path, type: 'file' };
      this.#missing = undefined;
      this.#contentSeen = false;
      this.#size = Number.MAX_SAFE_INTEGER;
    } else if (!this.#previous?.path.equals(path) || this.#missing === 0) {
      throw new Unacceptable('a continuation of something else than the file before it');
    }
    const holes = this.#decodeHoles(line['holes']);
    const ranges = this.#decodeContent(line['content'], packs);
    if (holes.length === 0 && ranges.length === 0) throw new Unacceptable('a continuation without content');
    return { path, entry: undefined, ranges, holes };
  }

  #checkOrder(path: Buffer): void {
    if (!this.#previous) return;
    const order = compareTreePaths(this.#previous.path, path);
    if (order >= 0)
      throw new Unacceptable(`the path ${quote(path.toString())} ${order === 0 ? 'twice' : 'out of order'}`);
    // What is below an entry follows it at once, so that one look back is enough.
    if (this.#previous.type !== 'directory' && isBelow(path, this.#previous.path))
      throw new Unacceptable(`the path ${quote(path.toString())} below something that is no directory`);
  }

  #decodeHoles(json: unknown): readonly Extent[] {
    if (json === undefined) return [];
    if (!Array.isArray(json) || json.length === 0 || json.length > limits.holesPerLine)
      throw new Unacceptable('holes that are no list, or an empty or too long one');
    if (this.#contentSeen) throw new Unacceptable('holes after content');
    return json.map((item: unknown): Extent => {
      if (!Array.isArray(item) || item.length !== 2) throw new Unacceptable('a hole that is no pair');
      const offset = integer(item[0], this.#size, 'hole');
      const length = integer(item[1], this.#size - offset, 'hole');
      const touches = this.#lastHoleEnd > 0 && offset === this.#lastHoleEnd;
      if (length === 0 || offset < this.#lastHoleEnd || touches)
        throw new Unacceptable('holes that are empty, touch, or are out of order');
      this.#lastHoleEnd = offset + length;
      this.#account(length);
      return [offset, length];
    });
  }

  #decodeContent(json: unknown, packs: readonly number[]): ContentRanges {
    if (json === undefined) return noRanges;
    if (!Array.isArray(json) || json.length === 0 || json.length > limits.rangesPerLine)
      throw new Unacceptable('content that is no list, or an empty or too long one');
    this.#contentSeen = true;
    const ranges: ContentRanges = Buffer.allocUnsafe(json.length * rangeBytes);
    for (let index = 0; index < json.length; index++) {
      const item = json[index] as unknown;
      if (!Array.isArray(item) || item.length !== 4)
        throw new Unacceptable('a range that is no list of four');
      const [number, start, bytes, digest] = item as unknown[];
      const pack = packs[integer(number, packs.length - 1, 'pack number')]!;
      const offset = integer(start, limits.rawStream - 1, 'range');
      const length = integer(bytes, Math.min(limits.blob, limits.rawStream - offset), 'range');
      if (length === 0) throw new Unacceptable('an empty range');
      if (typeof digest !== 'string' || !canonicalDigest.test(digest))
        throw new Unacceptable('a digest that is none');
      const at = index * rangeBytes;
      ranges.writeUInt32LE(pack, at);
      ranges.writeUInt32LE(offset, at + 4);
      ranges.writeUInt32LE(length, at + 8);
      ranges.write(digest, at + 12, 'base64url');
      this.#account(length);
    }
    return ranges;
  }

  #account(bytes: number): void {
    if (this.#missing === undefined) return;
    this.#missing -= bytes;
    if (this.#missing < 0) throw new Unacceptable('more content than the file has bytes');
  }
}

/** What a line has that it must not have; becomes 'damaged' with the name of the object. */
class Unacceptable extends Error {
  readonly placed: boolean;

  constructor(state: string, placed = false) {
    super(state);
    this.placed = placed;
  }
}

function parseLine(line: string | undefined, number: number): Json {
  if (line === undefined || line.length > limits.segment) throw new Unacceptable('is empty');
  if (number > 1 && line.length > limits.line)
    throw new Unacceptable(`has a line ${number} that is too long`, true);
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    throw new Unacceptable(`has a line ${number} that is not JSON`, true);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new Unacceptable(`has a line ${number} that is no object`, true);
  return json as Json;
}

function integer(json: unknown, largest: number, what: string): number {
  if (typeof json !== 'number' || !Number.isSafeInteger(json) || json < 0 || json > largest)
    throw new Unacceptable(`the impossible ${what} ${quote(String(json))}`);
  return json;
}

/** `member` as text, or `member64` in base64; undefined for an optional one that is not there. */
function bytesMember(line: Json, member: 'path' | 'continues' | 'target'): Buffer | undefined {
  const text = line[member];
  const base64 = line[`${member}64`];
  if (text === undefined && base64 === undefined && member === 'target') return undefined;
  if (typeof text === 'string' && base64 === undefined && text.isWellFormed()) return Buffer.from(text);
  if (typeof base64 === 'string' && text === undefined && canonicalBase64.test(base64))
    return Buffer.from(base64, 'base64');
  throw new Unacceptable(`no proper ${member}`);
}

function nameMember(json: unknown): string {
  if (json === undefined) return '';
  if (typeof json !== 'string' || json.length > 256 || json.includes('\0') || !json.isWellFormed())
    throw new Unacceptable('an impossible owner name');
  return json;
}

function decodeDevice(json: unknown): readonly [number, number] {
  if (!Array.isArray(json) || json.length !== 2) throw new Unacceptable('a device that is no pair');
  return [integer(json[0], largestNumber32, 'device'), integer(json[1], largestNumber32, 'device')];
}

function decodeXattrs(json: unknown): ReadonlyMap<string, Buffer> {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new Unacceptable('xattrs that are no object');
  const xattrs = new Map<string, Buffer>();
  for (const [name, value] of Object.entries(json)) {
    if (name === '' || Buffer.byteLength(name) > 255 || name.includes('\0') || !name.isWellFormed())
      throw new Unacceptable('an xattr with an impossible name');
    if (typeof value !== 'string' || !canonicalBase64.test(value))
      throw new Unacceptable('an xattr that is not base64');
    xattrs.set(name, Buffer.from(value, 'base64'));
  }
  return xattrs;
}

function quote(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}
