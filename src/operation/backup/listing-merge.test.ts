import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ListingReader, ListingWriter, type ListingRecord } from '../../repository/cache/listing.ts';
import { encodeRanges, noRanges } from '../../repository/tree/content-ranges.ts';
import { ListingMerge } from './listing-merge.ts';
import { TreeDraft } from './tree-draft.ts';

const state = {
  mode: 0o100644,
  size: 1,
  mtimeSeconds: 1,
  mtimeNanoseconds: 0,
  ctimeSeconds: 1,
  ctimeNanoseconds: 0,
  inode: 1,
};
const location = encodeRanges([{ pack: 0, offset: 0, length: 10, digest: new Uint8Array(32) }]);
const name = (index: number): string => `file-${String(index).padStart(3, '0')}`;
const line = (path: string): { path: Buffer; head: string; ranges: Buffer } => ({
  path: Buffer.from(path),
  head: `{"path":"${path}"`,
  ranges: noRanges,
});

/** What a run makes of a listing of 30 files (some going on in further lines) in segments of five lines. */
function merge(
  folder: string,
  kept: ReadonlySet<number>,
  inserted: ReadonlySet<number>,
): { expected: string[]; found: string[]; whole: number } {
  const last = join(folder, 'last');
  for (const file of [last, join(folder, 'draft')]) rmSync(file, { force: true });
  const writer = new ListingWriter(last);
  let lines = 0;
  const endLine = (): void => {
    if (++lines % 5 === 0) writer.addSegment(location, true);
  };
  const linesOf = (index: number): number => (index % 7 === 3 ? 8 : 1);
  for (let index = 0; index < 30; index++) {
    writer.addEntry(line(name(index)), state);
    endLine();
    for (let more = 1; more < linesOf(index); more++) {
      writer.addContinuation(line(name(index)));
      endLine();
    }
  }
  writer.addSegment(location, false);
  writer.finish();

  const draft = new TreeDraft(join(folder, 'draft'), last);
  let wholeLines = 0;
  const sink = {
    keepSegment(segment: Parameters<TreeDraft['keepSegment']>[0]) {
      wholeLines += segment.records.length;
      draft.keepSegment(segment);
    },
    keepLines: (records: readonly ListingRecord[]) => draft.keepLines(records),
  };
  const merging = new ListingMerge(last, sink);
  const expected: string[] = [];
  for (let index = 0; index < 30; index++) {
    if (kept.has(index)) {
      assert.equal(merging.find(name(index))?.path.toString(), name(index));
      assert.equal(merging.found().length, linesOf(index));
      merging.keep();
      for (let more = 0; more < linesOf(index); more++) expected.push(name(index));
    }
    if (inserted.has(index)) {
      assert.equal(merging.find(`${name(index)}x`), undefined);
      merging.insert();
      draft.add([line(`${name(index)}x`)], state);
      expected.push(`${name(index)}x`);
    }
  }
  assert.ok(merging.finish());
  const finished = draft.finish(merging.segments);
  assert.equal(finished.lines, expected.length);
  assert.equal(finished.isLastListing, kept.size === 30 && inserted.size === 0);
  const reader = new ListingReader(finished.path);
  const found: string[] = [];
  for (let record = reader.next(); record; record = reader.next())
    if (record.kind !== 'segment') found.push(record.path.toString());
  return { expected, found, whole: wholeLines };
}

test('the draft has every line of the new tree once and in order, whatever went, stayed and came', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-merge-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const all = [...Array(30).keys()];
  const some = fc.oneof(fc.subarray(all), fc.constant(all), fc.subarray(all, { minLength: 28 }));
  const few = fc.subarray(all, { maxLength: 4 });
  fc.assert(
    fc.property(some, few, (kept, inserted) => {
      const { expected, found } = merge(folder, new Set(kept), new Set(inserted));
      assert.deepEqual(found, expected);
    }),
    { numRuns: 150 },
  );
  const unchanged = merge(folder, new Set(all), new Set());
  assert.equal(unchanged.whole, unchanged.expected.length);
  const one = merge(folder, new Set(all), new Set([12]));
  assert.ok(one.whole >= one.expected.length - 10, 'one insertion breaks up one segment');
});
