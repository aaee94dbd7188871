import { SalvageError } from '../../errors/salvage-error.ts';
import type { FileEntry } from '../../posix/file-entry.ts';
import type { TargetDirectory } from '../../posix/target-directory.ts';
import { showPath } from '../../posix/target-path.ts';
import {
  countRanges,
  rangeDigest,
  rangeLength,
  rangeOffset,
  rangePack,
  type ContentRanges,
} from '../../repository/tree/content-ranges.ts';
import { leadsForward } from '../../repository/tree/forward-link.ts';
import type { TreeRecord } from '../../repository/tree/tree-decoder.ts';
import { isBelow } from '../../repository/tree/tree-path.ts';
import { contentBytes, ContentLayout, type Piece, type PlaceRange } from '../reading/content-layout.ts';
import type { SpreadPart } from './file-batch.ts';
import type { RestoreReport } from './restore-report.ts';
import { RestoreWindow } from './restore-window.ts';
import type { Selection } from './selection.ts';
import type { SpreadFile, SpreadFiles } from './spread-files.ts';

export interface RestorePlanOptions {
  readonly selection: Selection;
  readonly target: TargetDirectory;
  readonly spreads: SpreadFiles;
  readonly report: RestoreReport;
  /** What was written, and what is kept, is to be read again. */
  readonly check: boolean;
  /** Directories that are there already stay as they are. */
  readonly keepsDirectories: boolean;
  /** There is nothing in the target yet. */
  readonly isTargetEmpty: boolean;
}

/** The file whose lines are being read. */
interface CurrentFile {
  /** Its path in the snapshot. */
  readonly source: Buffer;
  readonly entry: FileEntry;
  readonly layout: ContentLayout;
  /** Undefined for one that lies in one pack, and for one that is not wanted any more. */
  readonly spread: SpreadFile | undefined;
  /** Bytes of which no line has told yet where they are. */
  missingBytes: number;
}

/** Hard links to a file that is not wanted itself: the content comes under the name of the first of them. */
export interface OrphanedLinks {
  /** The stored path of the file. */
  readonly target: Buffer;
  readonly links: readonly [FileEntry, ...FileEntry[]];
}

/**
 * Goes through the records of a tree in order, one entry after the other. What needs no content is made at once, of
 * everything else it is noted in the current window what is to be done.
 */
export class RestorePlan {
  readonly #options: RestorePlanOptions;
  #window = new RestoreWindow();
  #current: CurrentFile | undefined;
  /** Everything below this path was not there before. '' for all, undefined where that is not known. */
  #freshBelow: Buffer | undefined;
  #checkedLast: FileEntry | undefined;
  /** By the stored path of the file. */
  readonly #orphans = new Map<string, [FileEntry, ...FileEntry[]]>();

  constructor(options: RestorePlanOptions) {
    this.#options = options;
    if (options.isTargetEmpty) this.#freshBelow = Buffer.alloc(0);
  }

  get isWindowFull(): boolean {
    return this.#window.isFull;
  }

  /** What is planned and not taken yet. */
  takeWindow(): RestoreWindow {
    const window = this.#window;
    this.#window = new RestoreWindow();
    this.#checkedLast = undefined;
    return window;
  }

  /** What is in this path of the target was made by this run. */
  isFresh(path: Buffer): boolean {
    const fresh = this.#freshBelow;
    return fresh !== undefined && (fresh.length === 0 || isBelow(path, fresh));
  }

  add(record: TreeRecord): void {
    const { entry } = record;
    if (!entry) {
      if (this.#current?.source.equals(record.path)) this.#addContent(this.#current, record);
      return;
    }
    this.endFile();
    const { selection, target, report } = this.#options;
    const path = selection.map(entry.path, entry.type === 'directory');
    if (!path) return;
    const mapped = path === entry.path ? entry : { ...entry, path };
    try {
      if (leadsForward(entry))
        throw new SalvageError(
          'damaged',
          `Cannot restore the hard link "${showPath(mapped.path)}": its first name would come after it`,
        );
      switch (entry.type) {
        case 'file':
          return this.#addFile(mapped, record);
        case 'directory':
          return this.#addDirectory(mapped);
        case 'hardlink':
          return this.#addHardLink(mapped);
        default:
          report.count('others', target.make(mapped));
      }
    } catch (error) {
      report.lose(mapped.path, error);
    }
  }

  /** No more lines of the file that was begun last will come. */
  endFile(): void {
    const current = this.#current;
    if (!current) return;
    this.#current = undefined;
    current.layout.finish(this.#placer(current));
    const { spread, missingBytes } = current;
    if (!spread) return;
    const message = `Cannot restore "${showPath(current.entry.path)}": the snapshot does not tell where ${missingBytes} of its bytes are`;
    if (missingBytes > 0) spread.failure ??= { code: 'damaged', message };
    this.#window.complete.push(spread.number);
  }

  /** When all records have been added. */
  *orphans(): Generator<OrphanedLinks> {
    for (const [target, links] of this.#orphans) yield { target: Buffer.from(target, 'latin1'), links };
  }

  /** Takes the records of the file that orphaned links lead to, if the snapshot has it. */
  addOrphans({ links }: OrphanedLinks, records: readonly TreeRecord[] | undefined): void {
    const [first, ...others] = links;
    const { target, report } = this.#options;
    const record = records?.[0];
    const entry = record?.entry;
    if (!entry || entry.type === 'hardlink' || entry.type === 'directory')
      throw new SalvageError(
        'damaged',
        `Cannot restore the hard link "${first.path.toString()}": its target is not in the snapshot`,
      );
    if (entry.type === 'file') {
      this.#addFile({ ...entry, path: first.path }, record);
      for (const more of records!.slice(1)) if (this.#current) this.#addContent(this.#current, more);
      this.endFile();
    } else report.count('others', target.make({ ...entry, path: first.path }));
    for (const link of others) this.#window.hardLinks.push({ ...link, target: first.path });
  }

  #addDirectory(entry: FileEntry): void {
    const { target, report, keepsDirectories } = this.#options;
    const outcome = target.makeDirectory(entry);
    report.summary.directories++;
    if (outcome !== 'kept' && !this.isFresh(entry.path)) this.#freshBelow = entry.path;
    if (outcome !== 'kept' || !keepsDirectories) this.#window.directories.push(entry);
  }

  #addHardLink(entry: FileEntry): void {
    const target = this.#options.selection.mapAny(entry.target!);
    if (target) {
      this.#window.hardLinks.push({ ...entry, target });
      return;
    }
    const key = entry.target!.toString('latin1');
    const links = this.#orphans.get(key);
    if (links) links.push(entry);
    else this.#orphans.set(key, [entry]);
  }

  #addFile(entry: FileEntry, record: TreeRecord): void {
    const { target, report, check, spreads } = this.#options;
    if (!this.isFresh(entry.path) && target.keepsExisting(entry)) {
      report.summary.kept++;
      // What was there before is checked as well: its time and size alone say that it is right.
      if (check) this.#beginContent(entry, record, undefined);
      return;
    }
    const isWhole = contentBytes(record) === entry.size;
    if (entry.size === 0) {
      report.count('files', target.writeFile(entry, new Uint8Array(0)));
      return;
    }
    if (isWhole && record.holes.length === 0 && isInOnePack(record.ranges)) {
      this.#addWholeFile(entry, record.ranges);
      return;
    }
    const file = target.createFile(entry);
    if (file) this.#beginContent(entry, record, spreads.begin(entry, file));
    else report.summary.kept++;
  }

  #beginContent(entry: FileEntry, record: TreeRecord, spread: SpreadFile | undefined): void {
    const layout = new ContentLayout(entry.path);
    this.#current = { source: record.path, entry, layout, spread, missingBytes: entry.size };
    this.#addContent(this.#current, record);
  }

  #addWholeFile(entry: FileEntry, ranges: ContentRanges): void {
    const batch = this.#window.batch(rangePack(ranges, 0));
    batch.addFile(entry);
    let position = 0;
    for (let index = 0; index < countRanges(ranges); index++) {
      const length = rangeLength(ranges, index);
      const digest = rangeDigest(ranges, index);
      batch.addRange(rangeOffset(ranges, index), length, digest, position, undefined);
      if (this.#options.check) this.#checkLater(entry, length, digest, position, undefined);
      position += length;
    }
  }

  #addContent(current: CurrentFile, record: TreeRecord): void {
    try {
      current.missingBytes -= contentBytes(record);
      current.layout.add(record, this.#placer(current));
    } catch (error) {
      if (!(error instanceof SalvageError)) throw error;
      if (current.spread) current.spread.failure ??= error;
    }
  }

  #placer(current: CurrentFile): PlaceRange {
    const { entry, spread } = current;
    const part: SpreadPart | undefined = spread && { number: spread.number, suspended: spread.suspended };
    let lastPack = -1;
    return (ranges, index, position, pieces) => {
      const length = rangeLength(ranges, index);
      const digest = rangeDigest(ranges, index);
      if (part) {
        const pack = rangePack(ranges, index);
        const batch = this.#window.batch(pack);
        if (pack !== lastPack) batch.addFile(entry, part);
        lastPack = pack;
        batch.addRange(rangeOffset(ranges, index), length, digest, position, pieces);
      }
      if (this.#options.check) this.#checkLater(entry, length, digest, position, pieces);
    };
  }

  #checkLater(
    entry: FileEntry,
    length: number,
    digest: Uint8Array,
    position: number,
    pieces: readonly Piece[] | undefined,
  ): void {
    if (this.#checkedLast !== entry) this.#window.toCheck.addFile(entry);
    this.#checkedLast = entry;
    this.#window.toCheck.addRange(0, length, digest, position, pieces);
  }
}

function isInOnePack(ranges: ContentRanges): boolean {
  if (ranges.length === 0) return false;
  const pack = rangePack(ranges, 0);
  for (let index = 1; index < countRanges(ranges); index++)
    if (rangePack(ranges, index) !== pack) return false;
  return true;
}
