import { rmSync } from 'node:fs';
import {
  ListingReader,
  ListingWriter,
  type FileState,
  type ListingRecord,
} from '../../repository/cache/listing.ts';
import type { TreeLine } from '../../repository/tree/tree-line.ts';
import type { ListedSegment } from './listing-merge.ts';

/** A segment of the last snapshot whose lines stand in the draft one after the other, unchanged. */
export interface KeptSegment {
  /** Number of its first line in the draft. */
  readonly firstLine: number;
  readonly lines: number;
  readonly path: Buffer;
  /** Where it is stored, as one range. */
  readonly location: Buffer;
  readonly endsAtBoundary: boolean;
}

/** All lines of the new tree, in order, and what of it is as it was. */
export interface FinishedDraft {
  /** A listing without segments; or the last listing itself, if the tree is the same in every line. */
  readonly path: string;
  readonly isLastListing: boolean;
  readonly kept: readonly KeptSegment[];
  readonly lines: number;
}

/**
 * The lines of the new tree, on disk, since they cannot be put into segments before all packs have names. While the tree
 * turns out to be that of the last snapshot nothing is written.
 */
export class TreeDraft {
  readonly #lastListing: string | undefined;
  readonly #path: string;
  readonly #kept: KeptSegment[] = [];
  #writer: ListingWriter | undefined;
  #lines = 0;

  constructor(path: string, lastListing: string | undefined) {
    this.#path = path;
    this.#lastListing = lastListing;
  }

  /** Takes a segment over whole. */
  keepSegment(segment: ListedSegment): void {
    const { number, records, location, endsAtBoundary } = segment;
    if (number !== this.#kept.length) this.#startWriting();
    if (!location) this.keepLines(records);
    else {
      // Views of a large block would keep it in memory.
      this.#kept.push({
        firstLine: this.#lines,
        lines: records.length,
        path: Buffer.from(records[0]!.path),
        location: Buffer.from(location),
        endsAtBoundary,
      });
      for (const record of this.#writer ? records : []) this.#writer!.copy(record);
      this.#lines += records.length;
    }
  }

  keepLines(records: readonly ListingRecord[]): void {
    const writer = this.#startWriting();
    for (const record of records) writer.copy(record);
    this.#lines += records.length;
  }

  /** The lines of a new or changed entry. */
  add(lines: readonly TreeLine[], state: FileState): void {
    const writer = this.#startWriting();
    for (const [index, line] of lines.entries()) {
      if (index === 0) writer.addEntry(line, state);
      else writer.addContinuation(line);
    }
    this.#lines += lines.length;
  }

  /** `lastSegments`: how many segments the last listing has, if it was read to its end. */
  finish(lastSegments: number | undefined): FinishedDraft {
    const isLastListing = !this.#writer && this.#kept.length > 0 && lastSegments === this.#kept.length;
    if (!isLastListing) this.#startWriting().finish();
    const path = isLastListing ? this.#lastListing! : this.#path;
    return { path, isLastListing, kept: this.#kept, lines: this.#lines };
  }

  #startWriting(): ListingWriter {
    if (this.#writer) return this.#writer;
    rmSync(this.#path, { force: true });
    this.#writer = new ListingWriter(this.#path);
    if (this.#lines > 0) {
      const reader = new ListingReader(this.#lastListing!);
      for (let copied = 0; copied < this.#lines;) {
        const record = reader.next();
        if (!record) throw new Error('the listing of the last snapshot changed while it was read');
        if (record.kind === 'segment') continue;
        this.#writer.copy(record);
        copied++;
      }
      reader.close();
    }
    return this.#writer;
  }
}
