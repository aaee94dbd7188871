import type { FileEntry } from '../../posix/file-entry.ts';
import { FileBatchWriter } from './file-batch.ts';

/** What keeps memory flat: no more than so much is planned before it is carried out. */
const mostEntries = 8_192;
const mostBatchBytes = 6 * 1024 * 1024;
/** Looking through all batches for their size at every entry would take longer than restoring it. */
const entriesBetweenLooks = 512;

/** A stretch of entries that are planned together, so that each pack is read once for all of them. */
export class RestoreWindow {
  /** By pack, in the order in which the packs are first needed. */
  readonly batches: Map<number, FileBatchWriter> = new Map();
  /** In tree order, to be settled when everything in them is there. */
  readonly directories: FileEntry[] = [];
  /** To be made when their targets are there. */
  readonly hardLinks: FileEntry[] = [];
  /** Numbers of files that span packs, of which the last line was in this window. */
  readonly complete: number[] = [];
  /** What is to be read again. */
  readonly toCheck: FileBatchWriter = new FileBatchWriter();
  #entries = 0;

  batch(pack: number): FileBatchWriter {
    this.#entries++;
    let batch = this.batches.get(pack);
    if (!batch) this.batches.set(pack, (batch = new FileBatchWriter()));
    return batch;
  }

  get isFull(): boolean {
    const { directories, hardLinks, toCheck } = this;
    if (this.#entries + directories.length + hardLinks.length > mostEntries) return true;
    if (this.#entries < entriesBetweenLooks) return false;
    let bytes = toCheck.bytes;
    for (const batch of this.batches.values()) bytes += batch.bytes;
    return bytes > mostBatchBytes;
  }
}
