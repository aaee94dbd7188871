import type { PackId } from '../ids.ts';
import { limits } from '../limits.ts';
import type { PackTable } from '../pack/pack-table.ts';
import { rangeBytes, type ContentRanges } from './content-ranges.ts';
import { isBoundary, largestSegmentBytes } from './segment-boundary.ts';
import type { TreeLine } from './tree-line.ts';

/** One finished tree segment: a blob for a tree pack. */
export interface TreeSegment {
  readonly bytes: Uint8Array;
  /** Path of its first line. */
  readonly first: Buffer;
  /** Packs it refers to, by their numbers in the run's table, in the order of its first line. */
  readonly packs: readonly number[];
  readonly lines: number;
  /** False for the last segment of a tree that ended for no other reason: it is reused only at the end of a tree. */
  readonly endsAtBoundary: boolean;
}

/**
 * Writes lines, which come in tree order, into segments (docs/design/format.md "Tree segments"). Where a segment ends
 * depends on nothing but the lines since the one before ended. A line may be added once all packs it refers to have names.
 */
export class TreeEncoder {
  readonly #packs: PackTable;
  #lines: Buffer = Buffer.allocUnsafe(limits.line);
  #linesBytes = 0;
  #lineCount = 0;
  #first: Buffer | undefined;
  readonly #local = new Map<number, number>();

  constructor(packs: PackTable) {
    this.#packs = packs;
  }

  /** True between two segments: here a segment of the last snapshot may be taken over whole. */
  get atBoundary(): boolean {
    return this.#lineCount === 0;
  }

  /** Appends a line and returns the segments that it completes: none as a rule, one, or two. */
  add(line: TreeLine): TreeSegment[] {
    const done: TreeSegment[] = [];
    const headBytes = typeof line.head === 'string' ? Buffer.byteLength(line.head) : line.head.length;
    const packsBefore = this.#local.size;
    let text = this.#encodeContent(line.ranges);
    if (this.#lineCount > 0 && this.#linesBytes + headBytes + text.length > largestSegmentBytes) {
      done.push(this.#finishSegment(true, packsBefore));
      text = this.#encodeContent(line.ranges);
    }
    const bytes = headBytes + text.length;
    if (bytes > limits.line) throw new RangeError('a tree line is too long');
    this.#reserve(bytes);
    this.#write(line.head, this.#linesBytes);
    this.#lines.write(text, this.#linesBytes + headBytes, 'latin1');
    this.#linesBytes += bytes;
    this.#first ??= line.path;
    this.#lineCount++;
    if (isBoundary(line, bytes, this.#linesBytes)) done.push(this.#finishSegment(true));
    return done;
  }

  /** The last segment, if lines are left. */
  finish(): TreeSegment | undefined {
    return this.#lineCount > 0 ? this.#finishSegment(false) : undefined;
  }

  #encodeContent(ranges: ContentRanges): string {
    if (ranges.length === 0) return '}\n';
    let text = ',"content":[';
    for (let at = 0; at < ranges.length; at += rangeBytes) {
      const pack = ranges.readUInt32LE(at);
      let number = this.#local.get(pack);
      if (number === undefined) {
        number = this.#local.size;
        this.#local.set(pack, number);
      }
      text += `${at > 0 ? ',' : ''}[${number},${ranges.readUInt32LE(at + 4)},${ranges.readUInt32LE(at + 8)},"${ranges.toString('base64url', at + 12, at + rangeBytes)}"]`;
    }
    return `${text}]}\n`;
  }

  #write(head: string | Buffer, at: number): void {
    if (typeof head === 'string') this.#lines.write(head, at, 'utf8');
    else head.copy(this.#lines, at);
  }

  #reserve(bytes: number): void {
    if (this.#linesBytes + bytes <= this.#lines.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#lines.length * 2, this.#linesBytes + bytes));
    this.#lines.copy(larger, 0, 0, this.#linesBytes);
    this.#lines = larger;
  }

  /** Names the first `packCount` packs only: those after them belong to a line that fell into the next segment. */
  #finishSegment(endsAtBoundary: boolean, packCount: number = this.#local.size): TreeSegment {
    const packs = [...this.#local.keys()].slice(0, packCount);
    const ids = packs.map((number): PackId => {
      const id = this.#packs.idOf(number);
      if (id === undefined) throw new RangeError(`pack ${number} has no name yet`);
      return id;
    });
    const start = Buffer.from(`${JSON.stringify({ packs: ids })}\n`, 'latin1');
    const segment: TreeSegment = {
      bytes: Buffer.concat([start, this.#lines.subarray(0, this.#linesBytes)]),
      first: Buffer.from(this.#first!),
      packs,
      lines: this.#lineCount,
      endsAtBoundary,
    };
    this.#local.clear();
    this.#linesBytes = 0;
    this.#lineCount = 0;
    this.#first = undefined;
    return segment;
  }
}
