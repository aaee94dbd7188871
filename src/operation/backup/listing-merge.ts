import { ListingReader, type ListingRecord } from '../../repository/cache/listing.ts';
import type { ContentRanges } from '../../repository/tree/content-ranges.ts';
import { compareTreePaths } from '../../repository/tree/tree-path.ts';

/** A tree segment of the last snapshot with the records of its lines. */
export interface ListedSegment {
  /** In the listing, from 0. */
  readonly number: number;
  readonly records: readonly ListingRecord[];
  /** Where it is stored, as one range; undefined where the listing is damaged. */
  readonly location: ContentRanges | undefined;
  /** False if it was the end of the tree that ended it. */
  readonly endsAtBoundary: boolean;
}

/** What becomes of the last listing, in its order. */
export interface MergeSink {
  /** All lines of the segment are kept, and nothing comes between them. */
  keepSegment(segment: ListedSegment): void;
  /** Lines are kept whose segment has changed. */
  keepLines(records: readonly ListingRecord[]): void;
}

/**
 * The last listing, merged with a walk in the same order. The caller asks for each path with `find`, and then says what
 * becomes of it: `keep` or `drop` if it was found, `insert` if it was not.
 */
export class ListingMerge {
  readonly #reader: ListingReader;
  readonly #sink: MergeSink;
  /** The first is the current one; more are read only to look ahead. */
  readonly #segments: ListedSegment[] = [];
  #segmentsRead = 0;
  #position = 0;
  /** Nothing was dropped from the current segment or inserted into it. */
  #isWhole = true;
  /** Of a segment that is no longer whole: kept one after the other, and not yet told. */
  #kept: ListingRecord[] = [];

  constructor(path: string, sink: MergeSink) {
    this.#reader = new ListingReader(path);
    this.#sink = sink;
    this.#readSegment();
  }

  /** The entry at this path (latin1); what comes before it is gone from the sources and dropped. */
  find(path: string): ListingRecord | undefined {
    let bytes: Buffer | undefined;
    for (;;) {
      const record = this.#current();
      if (!record) return undefined;
      if (record.kind === 'entry') {
        if (record.path.length === path.length && record.path.toString('latin1') === path) return record;
        bytes ??= Buffer.from(path, 'latin1');
        if (compareTreePaths(record.path, bytes) > 0) return undefined;
      }
      this.#passOver();
    }
  }

  /** The entry just found and the lines in which it goes on. */
  found(): readonly ListingRecord[] {
    const records = [this.#current()!];
    let position = this.#position;
    for (let index = 0; ;) {
      const next = this.#segments[index]?.records[++position];
      if (next?.kind === 'continuation') records.push(next);
      else if (next || (index === this.#segments.length - 1 && !this.#readSegment())) return records;
      else {
        index++;
        position = -1;
      }
    }
  }

  /** The entry just found stays as it is. */
  keep(): void {
    do {
      const { records } = this.#segments[0]!;
      const record = records[this.#position++]!;
      if (!this.#isWhole) this.#kept.push(record);
      if (this.#position === records.length) this.#endSegment();
    } while (this.#current()?.kind === 'continuation');
  }

  /** The entry just found is gone, or comes anew. */
  drop(): void {
    do this.#passOver();
    while (this.#current()?.kind === 'continuation');
  }

  /** Something new comes here. */
  insert(): void {
    if (this.#position > 0) this.#breakUp();
    this.#tellKept();
  }

  /** What is left is gone. True if the listing was read to its end. */
  finish(): boolean {
    while (this.#current()) this.#passOver();
    this.#reader.close();
    return !this.#reader.isDamaged;
  }

  /** How many segments there were, once it is finished. */
  get segments(): number {
    return this.#segmentsRead;
  }

  #current(): ListingRecord | undefined {
    return this.#segments[0]?.records[this.#position];
  }

  #passOver(): void {
    this.#breakUp();
    this.#tellKept();
    if (++this.#position === this.#segments[0]!.records.length) this.#endSegment();
  }

  #breakUp(): void {
    if (!this.#isWhole) return;
    this.#isWhole = false;
    this.#kept = this.#segments[0]!.records.slice(0, this.#position);
    this.#tellKept();
  }

  #tellKept(): void {
    if (this.#kept.length > 0) this.#sink.keepLines(this.#kept);
    this.#kept = [];
  }

  #endSegment(): void {
    const segment = this.#segments.shift()!;
    if (this.#isWhole) this.#sink.keepSegment(segment);
    this.#tellKept();
    this.#position = 0;
    this.#isWhole = true;
    if (this.#segments.length === 0) this.#readSegment();
  }

  #readSegment(): boolean {
    const records: ListingRecord[] = [];
    for (;;) {
      const record = this.#reader.next();
      if (record && record.kind !== 'segment') {
        records.push(record);
        continue;
      }
      if (records.length === 0) return false;
      this.#segments.push({
        number: this.#segmentsRead++,
        records,
        location: record?.ranges,
        endsAtBoundary: record?.endsAtBoundary ?? false,
      });
      return true;
    }
  }
}
