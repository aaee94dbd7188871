import type { FileEntry, FileType } from '../posix/file-entry.ts';
import { decodePaxRecords, parsePaxTime } from './pax-records.ts';
import { aclAttributes, modeWithAcl, parseAcl, type LookUpId } from './posix-acl.ts';
import { parseDecimal, SparseMap } from './sparse-map.ts';
import {
  blockSize,
  damagedTar,
  decodeHeaderBlock,
  paddingAfter,
  parseNumber,
  type HeaderBlock,
} from './tar-header.ts';

/** An entry as an archive tells it. Its path is normalised, but may still hold '..' parts: who writes it confines it. */
export interface TarEntry extends FileEntry {
  /** The path was absolute in the archive; `path` is without the leading slashes. */
  readonly absolute: boolean;
  /** Where the entry begins in the tar stream. */
  readonly offset: number;
}

/** Is told what the archive holds, in its order. What it throws comes out of `push`. */
export interface TarHandler {
  entry(entry: TarEntry): void;
  /** Some content of the entry, `offset` bytes into the file; holes are skipped. The buffer is only lent. */
  data(bytes: Buffer, offset: number): void;
  /** The entry is complete, its whole content was given. */
  end(): void;
}

/** A header that announces more than this is refused: no real one comes near, and it must be held in memory. */
const maxExtendedHeader = 16 << 20;
const maxLongName = 64 << 10;
/** Decimal lines of a sparse map in format 1.0: as much as the extents that a SparseMap takes can need. */
const maxSparseMapBytes = 48 << 20;

/**
 * Reads a tar stream of any common kind: v7, ustar, pax (local and global headers), GNU (long names, base-256 numbers,
 * old sparse files), GNU sparse 0.0, 0.1 and 1.0, extended attributes and ACLs as star, GNU tar and libarchive write
 * them. Push parser: give it the stream in pieces of any size, then call `finish`.
 *
 * Holds one header at a time, never more than its limits, whatever sizes the archive announces. Every broken rule is a
 * SalvageError 'damaged' with the place in the stream.
 */
export class TarReader {
  readonly #handler: TarHandler;
  readonly #lookUpId: LookUpId;
  readonly #parser: Generator<void, void>;
  #chunk: Buffer = Buffer.alloc(0);
  #position = 0;
  /** Bytes of the stream before `#chunk`. */
  #before = 0;
  #insideEntry = false;
  #entries = 0;
  #ended = false;

  /** `lookUpId` finds the numbers of users and groups that ACLs name. */
  constructor(handler: TarHandler, lookUpId: LookUpId = () => undefined) {
    this.#handler = handler;
    this.#lookUpId = lookUpId;
    this.#parser = this.#parse();
  }

  /** Bytes of the stream that were understood. */
  get offset(): number {
    return this.#before + this.#position;
  }

  /** The two blocks of zeros that end an archive were seen; whatever follows them is ignored. */
  get ended(): boolean {
    return this.#ended;
  }

  push(chunk: Uint8Array): void {
    if (this.#ended) return;
    this.#before += this.#position;
    this.#chunk = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#position = 0;
    this.#parser.next();
  }

  /**
   * The stream is over. An archive that stops between two entries, without its end mark, is complete if it has any.
   *
   * @throws SalvageError 'damaged' if it stops within an entry, or holds nothing at all.
   */
  finish(): void {
    if (this.#ended) return;
    if (this.#insideEntry || this.offset % blockSize !== 0) {
      throw damagedTar(this.offset, 'it ends in the middle of an entry');
    }
    if (this.#entries === 0) throw damagedTar(this.offset, 'this is no tar archive');
  }

  *#parse(): Generator<void, void> {
    const global = new Map<string, Buffer>();
    let local = new Map<string, Buffer>();
    for (;;) {
      this.#insideEntry = local.size > 0;
      const offset = this.offset;
      const block = yield* this.#take(blockSize);
      const header = decodeHeaderBlock(block, offset);
      if (!header) {
        // One block of zeros ends it as well: a second is only ever padding.
        this.#ended = true;
        return;
      }
      this.#insideEntry = true;
      switch (header.type) {
        case 'x':
        case 'X':
          for (const [key, value] of yield* this.#takeRecords(header, offset)) local.set(key, value);
          break;
        case 'g':
          for (const [key, value] of yield* this.#takeRecords(header, offset)) global.set(key, value);
          this.#entries++;
          break;
        case 'L':
          local.set('path', yield* this.#takeLongName(header, offset));
          break;
        case 'K':
          local.set('linkpath', yield* this.#takeLongName(header, offset));
          break;
        case 'V':
        case 'M':
        case 'N':
          // Volume label, continuation of another volume's file, old long-name list: nothing to restore.
          yield* this.#skip(header.size + paddingAfter(header.size));
          this.#entries++;
          break;
        default: {
          const records = global.size === 0 ? local : new Map([...global, ...local]);
          local = new Map();
          yield* this.#readEntry(header, block, records, offset);
          this.#entries++;
        }
      }
    }
  }

  *#readEntry(
    header: HeaderBlock,
    block: Buffer,
    records: ReadonlyMap<string, Buffer>,
    offset: number,
  ): Generator<void, void> {
    const text = (key: string): string | undefined => {
      const value = records.get(key);
      // An empty value takes a record back, a global one for instance.
      return value?.length ? value.toString('utf8') : undefined;
    };
    const number = (key: string): number | undefined => {
      const value = text(key);
      if (value === undefined) return undefined;
      const parsed = parseDecimal(value);
      if (!Number.isSafeInteger(parsed)) throw damagedTar(offset, `the record ${key} is not a number`);
      return parsed;
    };
    const bytes = (key: string): Buffer | undefined => {
      const value = records.get(key);
      return value?.length ? cutAtNul(value) : undefined;
    };

    const rawPath = bytes('GNU.sparse.name') ?? bytes('path') ?? header.name;
    const type = fileType(header.type, rawPath);
    // Only these have content; old writers leave a file's size in the header of a link to it.
    const stored = '0123456'.indexOf(header.type) > 0 ? 0 : (number('size') ?? header.size);
    const time = text('mtime');
    const mtimeNs = time === undefined ? BigInt(header.mtime) * 1_000_000_000n : parsePaxTime(time);
    if (mtimeNs === undefined) throw damagedTar(offset, 'the record mtime is not a time');

    let size = stored;
    let rest = stored;
    let map: SparseMap | undefined;
    if (type === 'file') {
      if (header.type === 'S') {
        map = new SparseMap(offset);
        size = yield* this.#takeOldSparseMap(map, block, offset);
      } else if (number('GNU.sparse.major') === 1) {
        map = new SparseMap(offset);
        size = number('GNU.sparse.realsize') ?? number('GNU.sparse.size') ?? Number.NaN;
        rest -= yield* this.#takeSparseMap(map, stored, offset);
      } else if (number('GNU.sparse.size') !== undefined) {
        map = new SparseMap(offset);
        size = number('GNU.sparse.size')!;
        map.addList(text('GNU.sparse.map') ?? '');
      }
      if (map && (!Number.isSafeInteger(size) || map.stored !== rest)) {
        throw damagedTar(offset, 'a sparse map does not fit the size of its file');
      }
    }
    const holes = map?.holes(size) ?? [];
    const xattrs = decodeAttributes(records, this.#lookUpId);
    const accessAcl = xattrs.get('system.posix_acl_access');
    const link = type === 'symlink' || type === 'hardlink';
    const linkname = bytes('linkpath') ?? header.linkname;
    this.#handler.entry({
      path: normalisePath(rawPath),
      absolute: rawPath[0] === 0x2f,
      offset,
      type,
      mode: accessAcl ? modeWithAcl(header.mode, accessAcl) : header.mode,
      uid: number('uid') ?? Math.max(0, header.uid),
      gid: number('gid') ?? Math.max(0, header.gid),
      user: text('uname') ?? header.user.toString('utf8'),
      group: text('gname') ?? header.group.toString('utf8'),
      mtimeNs,
      size: type === 'file' ? size : 0,
      ...(link ? { target: type === 'hardlink' ? normalisePath(linkname) : linkname } : {}),
      ...(type === 'character-device' || type === 'block-device'
        ? {
            device: [
              number('SCHILY.devmajor') ?? header.deviceMajor,
              number('SCHILY.devminor') ?? header.deviceMinor,
            ] as const,
          }
        : {}),
      ...(xattrs.size > 0 ? { xattrs } : {}),
      ...(holes.length > 0 ? { holes } : {}),
    });
    // The dump directory list of GNU tar is no content.
    if (type !== 'file') yield* this.#skip(stored);
    else for (const [start, length] of map?.extents ?? [[0, stored]]) yield* this.#giveData(start!, length!);
    yield* this.#skip(paddingAfter(stored));
    this.#handler.end();
  }

  *#giveData(start: number, length: number): Generator<void, void> {
    let position = start;
    const end = start + length;
    while (position < end) {
      const piece = yield* this.#some(end - position);
      this.#handler.data(piece, position);
      position += piece.length;
    }
  }

  *#takeRecords(header: HeaderBlock, offset: number): Generator<void, Map<string, Buffer>> {
    if (header.size > maxExtendedHeader) {
      throw damagedTar(offset, `an extended header announces ${header.size} bytes`);
    }
    const content = Buffer.from(yield* this.#take(header.size));
    yield* this.#skip(paddingAfter(header.size));
    const records = new Map<string, Buffer>();
    const pairs: string[] = [];
    for (const [key, value] of decodePaxRecords(content, offset)) {
      // Sparse format 0.0 repeats these two: they are format 0.1's list in other words.
      if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') pairs.push(value.toString('latin1'));
      else records.set(key, value);
    }
    if (pairs.length > 0) records.set('GNU.sparse.map', Buffer.from(pairs.join(',')));
    return records;
  }

  *#takeLongName(header: HeaderBlock, offset: number): Generator<void, Buffer> {
    if (header.size > maxLongName) throw damagedTar(offset, `a long name announces ${header.size} bytes`);
    const name = Buffer.from(yield* this.#take(header.size));
    yield* this.#skip(paddingAfter(header.size));
    return cutAtNul(name);
  }

  /** Old GNU format: four extents in the header, 21 in each extension block; answers the file's real size. */
  *#takeOldSparseMap(map: SparseMap, header: Buffer, offset: number): Generator<void, number> {
    map.addOldGnu(header, 386, 4);
    const size = parseNumber(header, [483, 12], 'real size', offset);
    let more = header[482] !== 0;
    while (more) {
      const block = yield* this.#take(blockSize);
      map.addOldGnu(block, 0, 21);
      more = block[504] !== 0;
    }
    return size;
  }

  /** Format 1.0: decimal lines in front of the data, filled up to a block; answers the bytes they take. */
  *#takeSparseMap(map: SparseMap, stored: number, offset: number): Generator<void, number> {
    let taken = 0;
    let line = '';
    let left = -1;
    let start: number | undefined;
    while (left !== 0) {
      taken += blockSize;
      if (taken > Math.min(stored, maxSparseMapBytes)) throw damagedTar(offset, 'a sparse map has no end');
      const block = yield* this.#take(blockSize);
      for (const character of block.toString('latin1')) {
        if (left === 0) break;
        if (character !== '\n') {
          line += character;
          if (line.length > 16) throw damagedTar(offset, 'a sparse map holds an absurd number');
          continue;
        }
        const number = parseDecimal(line);
        line = '';
        if (!Number.isSafeInteger(number)) throw damagedTar(offset, 'a sparse map holds an absurd number');
        if (left < 0) left = number * 2;
        else {
          left--;
          if (start === undefined) start = number;
          else {
            map.add(start, number);
            start = undefined;
          }
        }
      }
    }
    return taken;
  }

  /** Exactly `length` bytes, which the caller has bounded. A view if they lie together: use it before the next yield. */
  *#take(length: number): Generator<void, Buffer> {
    if (this.#chunk.length - this.#position >= length) return this.#advance(length);
    const parts: Buffer[] = [];
    let left = length;
    while (left > 0) {
      const part = Buffer.from(yield* this.#some(left));
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  }

  /** At least one byte and at most `most`, as a view that lives until the next yield. */
  *#some(most: number): Generator<void, Buffer> {
    while (this.#position === this.#chunk.length) yield;
    return this.#advance(Math.min(most, this.#chunk.length - this.#position));
  }

  *#skip(length: number): Generator<void, void> {
    let left = length;
    while (left > 0) left -= (yield* this.#some(left)).length;
  }

  #advance(length: number): Buffer {
    const view = this.#chunk.subarray(this.#position, this.#position + length);
    this.#position += length;
    return view;
  }
}

function fileType(flag: string, path: Buffer): FileType {
  switch (flag) {
    case '1':
      return 'hardlink';
    case '2':
      return 'symlink';
    case '3':
      return 'character-device';
    case '4':
      return 'block-device';
    case '5':
    case 'D':
      return 'directory';
    case '6':
      return 'fifo';
    default:
      // POSIX: an unknown type is a regular file. The v7 format marks directories by their slash alone.
      return flag === '0' && path.at(-1) === 0x2f ? 'directory' : 'file';
  }
}

/** Without leading and trailing slashes, empty parts and '.' parts; '.' is the top itself. '..' parts stay, for the one who must refuse them. */
function normalisePath(path: Buffer): Buffer {
  const text = path.toString('latin1');
  if (!/^\/|\/$|\/\/|(^|\/)\.(\/|$)/.test(text)) return Buffer.from(path);
  const parts = text.split('/').filter((part) => part !== '' && part !== '.');
  return Buffer.from(parts.length === 0 ? '.' : parts.join('/'), 'latin1');
}

function cutAtNul(bytes: Buffer): Buffer {
  const nul = bytes.indexOf(0);
  return nul < 0 ? bytes : bytes.subarray(0, nul);
}

function decodeAttributes(records: ReadonlyMap<string, Buffer>, lookUp: LookUpId): Map<string, Buffer> {
  const xattrs = new Map<string, Buffer>();
  for (const [key, value] of records) {
    if (key.startsWith('SCHILY.xattr.')) {
      const name = key
        .slice('SCHILY.xattr.'.length)
        .replace(/%(3D|25)/gi, (_, hex: string) => (hex === '25' ? '%' : '='));
      xattrs.set(name, value);
    } else if (key.startsWith('LIBARCHIVE.xattr.')) {
      const name = decodeUrl(key.slice('LIBARCHIVE.xattr.'.length));
      if (!xattrs.has(name)) xattrs.set(name, Buffer.from(value.toString('latin1'), 'base64'));
    }
  }
  for (const [name, key] of Object.entries(aclAttributes)) {
    const acl = records.get(key) && parseAcl(records.get(key)!.toString('utf8'), lookUp);
    if (acl) xattrs.set(name, acl);
  }
  return xattrs;
}

/** Percent escapes; what is malformed stays as it is. */
function decodeUrl(text: string): string {
  const bytes = text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
