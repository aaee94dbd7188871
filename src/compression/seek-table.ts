import { SalvageError } from '../errors/salvage-error.ts';

// The seekable format of zstd (contrib/seekable_format/zstd_seekable_compression_format.md, version 0.1.0): a skippable
// frame with one entry per frame and a footer of nine bytes. All numbers little-endian.
const skippableMagic = 0x184d2a5e;
const footerMagic = 0x8f92eab1;
const headerBytes = 8;
const entryBytes = 8;

/** The last bytes of a seekable file: number of entries, descriptor, magic number. */
export const seekFooterBytes = 9;

/** One frame as the table has it: stored and raw size, at least 0, below 2^32. */
export interface SeekEntry {
  readonly compressedBytes: number;
  readonly rawBytes: number;
}

export function seekTableBytes(entries: number): number {
  return headerBytes + entries * entryBytes + seekFooterBytes;
}

/** The whole skippable frame, without checksums per entry. */
export function encodeSeekTable(entries: readonly SeekEntry[]): Uint8Array<ArrayBuffer> {
  const table = new Uint8Array(seekTableBytes(entries.length));
  const view = new DataView(table.buffer);
  view.setUint32(0, skippableMagic, true);
  view.setUint32(4, table.length - headerBytes, true);
  let offset = headerBytes;
  for (const { compressedBytes, rawBytes } of entries) {
    view.setUint32(offset, compressedBytes, true);
    view.setUint32(offset + 4, rawBytes, true);
    offset += entryBytes;
  }
  view.setUint32(offset, entries.length, true);
  view.setUint8(offset + 4, 0);
  view.setUint32(offset + 5, footerMagic, true);
  return table;
}

/**
 * The size of the whole table whose last `seekFooterBytes` bytes are given.
 * @throws damaged if this is no footer, has checksums or reserved bits, or names more than `maxEntries` entries
 */
export function parseSeekFooter(footer: Uint8Array, maxEntries: number): number {
  const view = new DataView(footer.buffer, footer.byteOffset, footer.byteLength);
  if (footer.length !== seekFooterBytes || view.getUint32(5, true) !== footerMagic)
    throw broken('it is not there');
  if (view.getUint8(4) !== 0) throw broken(`its descriptor is ${view.getUint8(4)} and not 0`);
  const entries = view.getUint32(0, true);
  if (entries > maxEntries) throw broken(`it names ${entries} frames where ${maxEntries} are allowed`);
  return seekTableBytes(entries);
}

/** The entries of a whole table, whose size `parseSeekFooter` has found. @throws damaged */
export function parseSeekTable(table: Uint8Array): SeekEntry[] {
  const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
  if (table.length < seekTableBytes(0)) throw broken('it is cut short');
  const count = view.getUint32(table.length - seekFooterBytes, true);
  if (
    table.length !== seekTableBytes(count) ||
    view.getUint32(0, true) !== skippableMagic ||
    view.getUint32(4, true) !== table.length - headerBytes
  )
    throw broken('its header does not fit its footer');
  const entries: SeekEntry[] = [];
  for (let offset = headerBytes; entries.length < count; offset += entryBytes)
    entries.push({
      compressedBytes: view.getUint32(offset, true),
      rawBytes: view.getUint32(offset + 4, true),
    });
  return entries;
}

function broken(state: string): SalvageError {
  return new SalvageError('damaged', `Cannot read the seek table: ${state}`);
}
