import { SalvageError } from '../errors/salvage-error.ts';

/** Everything in a tar file is made of blocks of this many bytes. */
export const blockSize = 512;

/** Values that fit the octal fields of a ustar header (POSIX.1-2017 pax, "ustar Interchange Format"). */
export const maxOctalId = 0o7777777;
export const maxOctalSize = 0o77777777777;

/** The zero bytes that fill up the last block of `size` bytes of content. */
export function paddingAfter(size: number): number {
  return (blockSize - (size % blockSize)) % blockSize;
}

/** One header block, not yet interpreted: numbers are decoded, names cut at their first NUL. */
export interface HeaderBlock {
  readonly name: Buffer;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** Whole seconds. */
  readonly mtime: number;
  /** The type flag as a character; '\0' of old archives as '0'. */
  readonly type: string;
  readonly linkname: Buffer;
  readonly user: Buffer;
  readonly group: Buffer;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

const field = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  linkname: [157, 100],
  magic: [257, 6],
  user: [265, 32],
  group: [297, 32],
  deviceMajor: [329, 8],
  deviceMinor: [337, 8],
  prefix: [345, 155],
} as const;

/**
 * A ustar header block. The caller has made sure that everything fits: names by their length in bytes (see
 * `splitName`), numbers by `maxOctalId` and `maxOctalSize`.
 */
export function encodeHeaderBlock(header: HeaderBlock & { readonly prefix: Buffer }): Buffer {
  const block = Buffer.allocUnsafe(blockSize).fill(0);
  header.name.copy(block, field.name[0]);
  putOctal(block, field.mode, header.mode);
  putOctal(block, field.uid, header.uid);
  putOctal(block, field.gid, header.gid);
  putOctal(block, field.size, header.size);
  putOctal(block, field.mtime, header.mtime);
  block[field.type[0]] = header.type.charCodeAt(0);
  header.linkname.copy(block, field.linkname[0]);
  block.write('ustar\x0000', field.magic[0], 'latin1');
  header.user.copy(block, field.user[0]);
  header.group.copy(block, field.group[0]);
  putOctal(block, field.deviceMajor, header.deviceMajor);
  putOctal(block, field.deviceMinor, header.deviceMinor);
  header.prefix.copy(block, field.prefix[0]);
  // Six digits, NUL, space: the one field with a form of its own.
  putOctal(block, [field.checksum[0], 7], sumOf(block).unsigned);
  block[field.checksum[0] + 7] = 0x20;
  return block;
}

/**
 * Splits a name at a slash into the name and prefix fields of a ustar header, or answers undefined if it fits no way.
 */
export function splitName(path: Buffer): { name: Buffer; prefix: Buffer } | undefined {
  if (path.length <= field.name[1]) return { name: path, prefix: Buffer.alloc(0) };
  if (path.length > field.prefix[1] + 1 + field.name[1]) return undefined;
  // The slash itself is not stored, so at most 100 bytes may follow it; a directory's own trailing slash must not be it.
  const slash = path.indexOf(0x2f, path.length - field.name[1] - 1);
  if (slash <= 0 || slash > field.prefix[1] || slash === path.length - 1) return undefined;
  return { name: path.subarray(slash + 1), prefix: path.subarray(0, slash) };
}

/**
 * Reads one header block of the v7, ustar, pax, star or GNU kind; undefined for a block of zeros, which ends the
 * archive. `offset` is the block's place in the archive, for the error.
 *
 * @throws SalvageError 'damaged' if the checksum does not fit or a number is none.
 */
export function decodeHeaderBlock(block: Buffer, offset: number): HeaderBlock | undefined {
  const sum = sumOf(block);
  // All zeros: only the checksum field's own eight spaces were counted.
  if (sum.unsigned === 8 * 0x20 && block.every((byte) => byte === 0)) return undefined;
  const number = (name: keyof typeof field): number => parseNumber(block, field[name], name, offset);
  const stored = number('checksum');
  // Some old writers summed signed bytes.
  if (stored !== sum.unsigned && stored !== sum.signed) {
    throw damagedTar(offset, 'the checksum of this header does not fit');
  }
  const magic = block.toString('latin1', field.magic[0], field.magic[0] + 8);
  const posix = magic === 'ustar\x0000';
  const gnu = magic === 'ustar  \0';
  // star keeps times after a shorter prefix and marks itself at the end of the block.
  const star = posix && block.toString('latin1', 508, 512) === 'tar\0';
  const name = textField(block, field.name);
  const prefix = posix ? textField(block, star ? [field.prefix[0], 131] : field.prefix) : Buffer.alloc(0);
  const type = String.fromCharCode(block[field.type[0]]! || 0x30);
  const size = number('size');
  if (size < 0) throw damagedTar(offset, 'a size is negative');
  // Only devices need these numbers, and old writers leave anything there.
  const device = (posix || gnu) && (type === '3' || type === '4');
  return {
    name: prefix.length > 0 ? Buffer.concat([prefix, Buffer.from('/'), name]) : name,
    mode: number('mode') & 0o7777,
    uid: number('uid'),
    gid: number('gid'),
    size,
    mtime: number('mtime'),
    type,
    linkname: textField(block, field.linkname),
    user: posix || gnu ? textField(block, field.user) : Buffer.alloc(0),
    group: posix || gnu ? textField(block, field.group) : Buffer.alloc(0),
    deviceMajor: device ? number('deviceMajor') : 0,
    deviceMinor: device ? number('deviceMinor') : 0,
  };
}

/**
 * The number in a field of a header or a sparse map: octal text, or base-256 (GNU) if the first bit is set. Empty is 0.
 *
 * @throws SalvageError 'damaged' if it is neither or beyond 2^53.
 */
export function parseNumber(
  block: Buffer,
  [start, length]: readonly [number, number],
  what: string,
  offset: number,
): number {
  const first = block[start]!;
  if (first & 0x80) {
    // Two's complement over the whole field; the marker bit is its sign extension or not counted.
    let value = BigInt(first & 0x40 ? (first | 0x80) - 0x100 : first & 0x7f);
    for (let index = start + 1; index < start + length; index++) {
      value = (value << 8n) | BigInt(block[index]!);
    }
    if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < -BigInt(Number.MAX_SAFE_INTEGER)) {
      throw damagedTar(offset, `the number in the field ${what} is absurd`);
    }
    return Number(value);
  }
  let value = 0;
  let index = start;
  const end = start + length;
  while (index < end && (block[index] === 0x20 || block[index] === 0)) index++;
  for (; index < end; index++) {
    const digit = block[index]! - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  for (; index < end; index++) {
    const byte = block[index]!;
    if (byte === 0) break;
    if (byte !== 0x20) throw damagedTar(offset, `the field ${what} is not a number`);
  }
  return value;
}

/** The error for an archive that breaks the format at the byte `offset` of its tar stream. */
export function damagedTar(offset: number, state: string): SalvageError {
  return new SalvageError('damaged', `Cannot read the tar archive at byte ${offset}: ${state}`, {
    details: { offset },
  });
}

function putOctal(block: Buffer, [start, length]: readonly [number, number], value: number): void {
  let rest = value;
  for (let index = start + length - 2; index >= start; index--) {
    block[index] = 0x30 + (rest % 8);
    rest = Math.floor(rest / 8);
  }
  if (rest !== 0 || value < 0)
    throw new RangeError(`${value} does not fit a tar header field of ${length} bytes`);
}

function textField(block: Buffer, [start, length]: readonly [number, number]): Buffer {
  const nul = block.indexOf(0, start);
  const end = nul < 0 || nul > start + length ? start + length : nul;
  return Buffer.from(block.subarray(start, end));
}

/** The sum of all bytes, the checksum field counted as spaces, as unsigned and as signed bytes. */
function sumOf(block: Buffer): { unsigned: number; signed: number } {
  let unsigned = 0;
  let high = 0;
  for (let index = 0; index < blockSize; index++) {
    const byte = block[index]!;
    unsigned += byte;
    high += byte >> 7;
  }
  const [start, length] = field.checksum;
  for (let index = start; index < start + length; index++) {
    unsigned -= block[index]!;
    high -= block[index]! >> 7;
  }
  unsigned += length * 0x20;
  return { unsigned, signed: unsigned - 256 * high };
}
