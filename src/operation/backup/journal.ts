import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { PackId } from '../../repository/ids.ts';
import { BlobList, blobRecordBytes } from '../../repository/pack/blob-list.ts';

/** A pack that a run has finished: what the next run must know to take it up. */
export interface JournaledPack {
  readonly id: PackId;
  readonly kind: 'content' | 'tree';
  /** Stored size. */
  readonly sizeBytes: number;
  readonly blobs: BlobList;
}

// A record: u32 CRC-32 of what follows, u32 bytes of the blob list, u32 kind, u32 stored size, id (32 bytes), blob list.
const fixedBytes = 48;
const kinds = ['content', 'tree'] as const;

/**
 * The packs of a run that is not committed yet, in a local file. A pack is written down before it is handed to storage,
 * so that nothing stored is ever missing here; whether a pack named here came to be stored is for storage to say.
 */
export class Journal {
  readonly #path: string;
  #file: number | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** What the last runs wrote down since the last `clear`. Ends at the first record that is not whole. */
  read(): JournaledPack[] {
    let bytes: Buffer;
    try {
      bytes = readFileSync(this.#path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
    const packs: JournaledPack[] = [];
    for (let at = 0; at + fixedBytes <= bytes.length;) {
      const blobBytes = bytes.readUInt32LE(at + 4);
      const end = at + fixedBytes + blobBytes;
      const kind = kinds[bytes.readUInt32LE(at + 8)];
      if (
        end > bytes.length ||
        blobBytes % blobRecordBytes !== 0 ||
        kind === undefined ||
        crc32(bytes.subarray(at + 4, end)) !== bytes.readUInt32LE(at)
      )
        break;
      packs.push({
        id: bytes.toString('hex', at + 16, at + fixedBytes) as PackId,
        kind,
        sizeBytes: bytes.readUInt32LE(at + 12),
        blobs: BlobList.fromBytes(bytes.subarray(at + fixedBytes, end)),
      });
      at = end;
    }
    return packs;
  }

  /** Replaces everything by these packs. */
  rewrite(packs: readonly JournaledPack[]): void {
    this.clear();
    for (const pack of packs) this.append(pack);
  }

  append({ id, kind, sizeBytes, blobs }: JournaledPack): void {
    const list = blobs.bytes;
    const record = Buffer.alloc(fixedBytes + list.length);
    record.writeUInt32LE(list.length, 4);
    record.writeUInt32LE(kinds.indexOf(kind), 8);
    record.writeUInt32LE(sizeBytes, 12);
    record.write(id, 16, 'hex');
    record.set(list, fixedBytes);
    record.writeUInt32LE(crc32(record.subarray(4)), 0);
    this.#file ??= openSync(this.#path, 'a', 0o600);
    for (let written = 0; written < record.length;) written += writeSync(this.#file, record, written);
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  /** After the snapshot that refers to the packs is committed and the cache knows them. */
  clear(): void {
    this.close();
    rmSync(this.#path, { force: true });
  }
}
