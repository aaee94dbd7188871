import { hash } from 'node:crypto';
import { releaseMemory } from '../../bytes/release-memory.ts';
import type { BlobTable } from '../../repository/cache/blob-table.ts';
import { ListingReader, ListingWriter, type ListingRecord } from '../../repository/cache/listing.ts';
import type { PackTable } from '../../repository/pack/pack-table.ts';
import type { PackPadding } from '../../repository/pack/pack-writer.ts';
import type { SegmentReference } from '../../repository/snapshot/root-json.ts';
import {
  encodeRanges,
  rangeDigest,
  rangeLength,
  rangeOffset,
  rangePack,
  type ContentRange,
} from '../../repository/tree/content-ranges.ts';
import { TreeEncoder, type TreeSegment } from '../../repository/tree/tree-encoder.ts';
import type { PackFacts } from './pack-facts.ts';
import type { OwnPack, PackStore } from './pack-store.ts';
import type { FinishedDraft, KeptSegment } from './tree-draft.ts';

export interface TreeWriterOptions {
  readonly store: PackStore;
  readonly packs: PackTable;
  readonly facts: PackFacts;
  readonly blobs: BlobTable;
  /** Path for the listing of the new snapshot. */
  readonly listing: string;
}

export interface WrittenTree {
  /** In tree order. */
  readonly segments: readonly SegmentReference[];
  /** Path of its listing. */
  readonly listing: string;
}

/**
 * Puts the lines of a draft into segments and stores those that are new. All packs that the lines refer to have names.
 * A segment of the last snapshot is taken over by reference where the new tree has it whole.
 */
export async function writeTree(draft: FinishedDraft, options: TreeWriterOptions): Promise<WrittenTree> {
  const writer = new TreeWriter(options);
  try {
    return await writeDraft(draft, writer, options);
  } finally {
    writer.discard();
  }
}

async function writeDraft(
  draft: FinishedDraft,
  writer: TreeWriter,
  options: TreeWriterOptions,
): Promise<WrittenTree> {
  if (draft.isLastListing) {
    for (const kept of draft.kept) writer.refer(kept);
    return { segments: await writer.finish(), listing: draft.path };
  }
  const listing = new ListingWriter(options.listing);
  const encoder = new TreeEncoder(options.packs);
  const reader = new ListingReader(draft.path);
  const open: ListingRecord[] = [];
  const endSegments = async (segments: readonly TreeSegment[]): Promise<void> => {
    for (const segment of segments) {
      // The line that was added last may belong to the next segment.
      for (const record of open.splice(0, segment.lines)) listing.copy(record);
      listing.addSegment(encodeRanges([await writer.add(segment)]), segment.endsAtBoundary);
    }
  };
  let nextKept = 0;
  for (let line = 0; line < draft.lines;) {
    while (draft.kept[nextKept] && draft.kept[nextKept]!.firstLine < line) nextKept++;
    const kept = draft.kept[nextKept];
    const isLast = kept !== undefined && line + kept.lines === draft.lines;
    if (kept?.firstLine === line && encoder.atBoundary && (kept.endsAtBoundary || isLast)) {
      writer.refer(kept);
      for (let index = 0; index < kept.lines; index++) listing.copy(read(reader));
      listing.addSegment(kept.location, kept.endsAtBoundary);
      line += kept.lines;
    } else {
      const record = read(reader);
      open.push(record);
      const ended = encoder.add(record.line);
      if (ended.length > 0) await endSegments(ended);
      line++;
    }
  }
  const last = encoder.finish();
  if (last) await endSegments([last]);
  reader.close();
  listing.finish();
  return { segments: await writer.finish(), listing: options.listing };
}

class TreeWriter {
  readonly #options: TreeWriterOptions;
  readonly #segments: { readonly range: ContentRange; readonly first: Buffer }[] = [];
  #pack: OwnPack | undefined;

  constructor(options: TreeWriterOptions) {
    this.#options = options;
  }

  /** Takes over a stored segment. */
  refer({ location, path }: KeptSegment): void {
    this.#list(
      {
        pack: rangePack(location, 0),
        offset: rangeOffset(location, 0),
        length: rangeLength(location, 0),
        digest: rangeDigest(location, 0),
      },
      path,
    );
  }

  /** Stores a segment, unless it is stored, and says where. */
  async add({ bytes, first }: TreeSegment): Promise<ContentRange> {
    const { blobs, store, facts } = this.#options;
    const digest = hash('sha256', bytes, 'buffer');
    this.#pack ??= await store.open();
    const { number, writer } = this.#pack;
    const { length } = bytes;
    const known = blobs.claim(digest, number, writer.rawBytes, length);
    // A file may happen to have the content of a segment: the packs of its kind are for content.
    if (known && facts.get(known.pack)?.kind === 'tree') return this.#list({ ...known, digest }, first);
    const range = { pack: number, offset: writer.add(bytes, digest), length, digest };
    releaseMemory(bytes);
    if (writer.isFull) await this.#close('full');
    return this.#list(range, first);
  }

  /** The references of all segments, when all are stored. */
  async finish(): Promise<SegmentReference[]> {
    if (this.#pack && !this.#pack.writer.isEmpty) await this.#close('last');
    return this.#segments.map(({ range: { pack, offset, length, digest }, first }) => ({
      pack: this.#options.packs.idOf(pack)!,
      offset,
      length,
      digest,
      first,
    }));
  }

  #list(range: ContentRange, first: Buffer): ContentRange {
    this.#options.facts.use(range.pack, range.length);
    this.#segments.push({ range, first });
    return range;
  }

  /** Gives up a pack that is not stored: to be called however it ends. */
  discard(): void {
    this.#pack?.staging.discard();
  }

  async #close(padding: PackPadding): Promise<void> {
    const pack = this.#pack!;
    this.#pack = undefined;
    await this.#options.store.storeTree(pack, padding);
  }
}

function read(reader: ListingReader): ListingRecord {
  const record = reader.next();
  if (!record) throw new Error('the draft of the tree is damaged: the disk of the cache fails');
  return record;
}
