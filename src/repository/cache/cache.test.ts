import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { newRepositoryId, newSnapshotId, type ObjectDigest, type PackId } from '../ids.ts';
import { PackTable } from '../pack/pack-table.ts';
import { encodeRanges } from '../tree/content-ranges.ts';
import { BlobLevel, BlobLevelWriter, mergeLevels } from './blob-level.ts';
import { BlobTable, shareBlobTable } from './blob-table.ts';
import { CacheFolder } from './cache-folder.ts';
import { ListingReader, ListingWriter, type FileState, type ListingRecord } from './listing.ts';

const folder = mkdtempSync(join(tmpdir(), 'salvage-cache-'));
let paths = 0;
const newPath = (): string => join(folder, `file-${paths++}`);
const newFolder = (): string => {
  const path = newPath();
  mkdirSync(path);
  return path;
};
const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();
const packId = (text: string): PackId => digestOf(text).toString('hex') as PackId;

after(() => {
  rmSync(folder, { recursive: true });
});

function writeLevel(names: readonly string[], pack = 1): string {
  const path = newPath();
  const writer = new BlobLevelWriter(path);
  const digests = names.map(digestOf).sort((a, b) => Buffer.compare(a, b));
  for (const digest of digests)
    writer.add(encodeRanges([{ pack, offset: digest[0]!, length: 5, digest }]), 0);
  assert.equal(writer.finish(), names.length);
  return path;
}

const openLevel = (path: string): BlobLevel => BlobLevel.open(path, statSync(path).size)!;
const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => String(from + index));

test('a level finds what is in it and nothing else, around the size of a block', () => {
  for (const count of [0, 1, 92, 93, 94, 186, 5000]) {
    const level = openLevel(writeLevel(numbers(0, count)));
    for (const name of numbers(0, count))
      assert.deepEqual(level.find(digestOf(name)), { pack: 1, offset: digestOf(name)[0], length: 5 });
    for (const name of numbers(count, count + 200)) assert.equal(level.find(digestOf(name)), undefined);
    level.close();
  }
});

test('digests that begin alike are found across blocks', () => {
  const path = newPath();
  const writer = new BlobLevelWriter(path);
  const digests = Array.from({ length: 300 }, (_, index) => {
    const digest = Buffer.alloc(32, 7);
    digest.writeUInt16BE(index, 20);
    return digest;
  });
  for (const [index, digest] of digests.entries())
    writer.add(encodeRanges([{ pack: index, offset: 0, length: 1, digest }]), 0);
  writer.finish();
  const level = openLevel(path);
  for (const [index, digest] of digests.entries()) assert.equal(level.find(digest)?.pack, index);
  level.close();
});

test('a damaged block holds nothing, a damaged level is none', () => {
  const path = writeLevel(numbers(0, 500));
  const bytes = readFileSync(path);
  bytes[5000]! ^= 1;
  writeFileSync(path, bytes);
  const level = openLevel(path);
  const found = numbers(0, 500).filter((name) => level.find(digestOf(name))).length;
  assert.equal(found, 500 - 93);
  level.close();
  truncateSync(path, bytes.length - 1);
  assert.equal(BlobLevel.open(path, bytes.length - 1), undefined);
  bytes[bytes.length - 30]! ^= 1;
  writeFileSync(path, bytes);
  assert.equal(BlobLevel.open(path, bytes.length), undefined);
  writeFileSync(path, '');
  assert.equal(BlobLevel.open(path, 0), undefined);
});

test('merged levels: the first wins, what is not kept is dropped', () => {
  const levels = [
    openLevel(writeLevel(numbers(0, 300), 1)),
    openLevel(writeLevel(numbers(200, 600), 2)),
    openLevel(writeLevel(numbers(550, 560), 3)),
  ];
  const path = newPath();
  assert.equal(
    mergeLevels(path, levels, ({ pack }) => pack !== 3),
    600,
  );
  const merged = openLevel(path);
  for (const name of numbers(0, 600))
    assert.equal(merged.find(digestOf(name))?.pack, Number(name) < 300 ? 1 : 2);
  const without = newPath();
  assert.equal(
    mergeLevels(without, [merged], ({ pack }) => pack !== 2),
    300,
  );
});

test('a blob is claimed once, and then known; packs that are gone do not count', () => {
  const table = new BlobTable(
    shareBlobTable([writeLevel(['old', 'gone'], 4), writeLevel(['gone2'], 5)], newFolder()),
    (pack) => pack === 5,
  );
  assert.deepEqual(table.claim(digestOf('old'), 9, 0, 1)?.pack, 4);
  assert.equal(table.claim(digestOf('new'), 9, 10, 11), undefined);
  assert.deepEqual(table.claim(digestOf('new'), 8, 0, 11), { pack: 9, offset: 10, length: 11 });
  assert.equal(table.claim(digestOf('gone2'), 9, 21, 1), undefined);
  assert.equal(table.claim(digestOf('gone2'), 9, 30, 1)?.offset, 21);
  const levels = table.finish(newPath());
  assert.equal(openLevel(levels[0]!).count, 2);
  table.close();
});

test('threads share one table: every blob is claimed by exactly one of them, spilled or not', async () => {
  const share = shareBlobTable([], newFolder());
  const count = 380_000;
  const source = `
    import { createHash } from 'node:crypto';
    import { parentPort, workerData } from 'node:worker_threads';
    const { BlobTable } = await import(workerData.module);
    const table = new BlobTable(workerData.share);
    const digest = Buffer.alloc(32);
    let claimed = 0;
    for (let index = 0; index < workerData.count; index++) {
      digest.writeUInt32LE(Math.imul(index, 0x9e3779b1) >>> 0, 0);
      digest.writeUInt32BE(index, 28);
      const found = table.claim(digest, workerData.pack, index, 1);
      if (!found) claimed++;
      else if (found.offset !== index) throw new Error('another blob');
    }
    table.close();
    parentPort.postMessage(claimed);`;
  const claimed = await Promise.all(
    [1, 2].map(
      async (pack) =>
        await new Promise<number>((resolve, reject) => {
          const workerData = { module: new URL('./blob-table.ts', import.meta.url).href, share, count, pack };
          const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
            workerData,
          });
          worker.once('message', resolve).once('error', reject);
        }),
    ),
  );
  assert.equal(claimed[0]! + claimed[1]!, count);
  const table = new BlobTable(share);
  const levels = table.finish(newPath());
  assert.equal(levels.length, 2, 'one was spilled');
  assert.equal(
    levels.reduce((sum, path) => sum + openLevel(path).count, 0),
    count,
  );
  table.close();
});

const state: FileState = {
  mode: 0o100644,
  size: 2 ** 40 + 1,
  mtimeSeconds: -(2 ** 33),
  mtimeNanoseconds: 999_999_999,
  ctimeSeconds: 1_763_884_800,
  ctimeNanoseconds: 123_456_789,
  inode: 2 ** 63,
};
const ranges = encodeRanges([{ pack: 3, offset: 1, length: 2, digest: digestOf('x') }]);

function writeListing(count: number): string {
  const path = newPath();
  const writer = new ListingWriter(path);
  for (let index = 0; index < count; index++) {
    const line = {
      path: Buffer.from(`path/${String(index)}-ä`),
      head: index % 2 ? `{"path":"ä${index}"` : Buffer.from('{"path":"x"'),
      ranges,
    };
    writer.addEntry(line, { ...state, size: index });
  }
  writer.addContinuation({ path: Buffer.from('more'), head: '{"continues":"more"', ranges });
  writer.addSegment(ranges, true);
  writer.finish();
  return path;
}

function readListing(path: string): { records: ListingRecord[]; isDamaged: boolean } {
  const reader = new ListingReader(path);
  const records: ListingRecord[] = [];
  for (let record = reader.next(); record; record = reader.next()) records.push(record);
  assert.equal(reader.next(), undefined);
  reader.close();
  return { records, isDamaged: reader.isDamaged };
}

test('a listing comes back record by record', () => {
  const { records, isDamaged } = readListing(writeListing(20_000));
  assert.ok(!isDamaged);
  assert.equal(records.length, 20_002);
  for (const [index, record] of records.slice(0, 20_000).entries()) {
    assert.equal(record.kind, 'entry');
    assert.equal(record.path.toString(), `path/${index}-ä`);
    assert.deepEqual(record.state, { ...state, size: index });
    assert.ok(record.isUnchanged({ ...state, size: index }));
    const { head } = record.line;
    assert.equal(head.toString(), index % 2 ? `{"path":"ä${index}"` : '{"path":"x"');
    assert.ok(record.ranges.equals(ranges));
  }
  assert.equal(records[20_000]!.kind, 'continuation');
  const segment = records[20_001]!;
  assert.deepEqual([segment.kind, segment.endsAtBoundary, segment.path.length], ['segment', true, 0]);
  assert.ok(segment.ranges.equals(ranges));
});

test('a file is changed if any of size, mode, times and inode is', () => {
  const [record] = readListing(writeListing(1)).records;
  const same = { ...state, size: 0 };
  assert.ok(record!.isUnchanged(same));
  for (const change of [
    { mode: 1 },
    { size: 1 },
    { mtimeSeconds: 0 },
    { mtimeNanoseconds: 0 },
    { ctimeSeconds: 0 },
    { ctimeNanoseconds: 0 },
    { inode: 1 },
  ])
    assert.ok(!record!.isUnchanged({ ...same, ...change }));
});

test('a damaged listing ends at the damage, and an empty one at once', () => {
  const path = writeListing(20_000);
  const bytes = readFileSync(path);
  const half = Buffer.from(bytes);
  half[half.length >>> 1]! ^= 1;
  writeFileSync(path, half);
  const { records, isDamaged } = readListing(path);
  assert.ok(isDamaged && records.length > 5000 && records.length < 15_000);
  for (const length of [0, 4, 8, 12, 16, 100, bytes.length - 8, bytes.length - 1]) {
    writeFileSync(path, bytes.subarray(0, length));
    assert.ok(readListing(path).isDamaged, `${length} bytes`);
  }
  const empty = newPath();
  new ListingWriter(empty).finish();
  assert.deepEqual(readListing(empty), { records: [], isDamaged: false });
});

test('the folder gives back what was committed, merges levels and clears away the rest', () => {
  const path = newPath();
  const repository = newRepositoryId();
  const cache = new CacheFolder(path, repository);
  assert.equal(cache.load(), undefined);
  const snapshot = newSnapshotId(1, new Date(0));
  const checksums = packId('sums') as ObjectDigest;
  let levels: readonly string[] = [];
  for (let run = 0; run < 6; run++) {
    const packs = cache.load()?.packs ?? new PackTable();
    const pack = packs.numberOf(packId(`pack ${run}`));
    if (run === 5) packs.forget(packs.find(packId('pack 0'))!);
    const table = new BlobTable(
      shareBlobTable(levels, cache.spillFolder()),
      (number) => packs.idOf(number) === undefined,
    );
    for (const name of numbers(run * 100, run * 100 + 100))
      assert.equal(table.claim(digestOf(name), pack, 1, 1), undefined);
    const fresh = table.finish(cache.newFile('blobs'));
    table.close();
    const listing = cache.newFile('listing');
    new ListingWriter(listing).finish();
    cache.newFile('listing');
    cache.commit({ snapshot, checksums, packs, listing, levels: [...fresh, ...levels] });
    const state = cache.load()!;
    assert.deepEqual([state.snapshot, state.checksums, state.listing], [snapshot, checksums, listing]);
    ({ levels } = state);
    assert.ok(levels.length <= 4);
    assert.equal(readdirSync(path).length, levels.length + 3);
    assert.equal(packs.idOf(pack), state.packs.idOf(pack));
  }
  const table = new BlobTable(
    shareBlobTable(levels, cache.spillFolder()),
    (number) => cache.load()!.packs.idOf(number) === undefined,
  );
  for (const name of numbers(100, 600)) assert.ok(table.claim(digestOf(name), 99, 0, 1), name);
  assert.equal(table.claim(digestOf('0'), 99, 0, 1), undefined, 'its pack was forgotten');
  table.close();

  assert.equal(new CacheFolder(path, newRepositoryId()).load(), undefined, 'of another repository');
  const packsFile = readdirSync(path).find((name) => name.startsWith('packs-'))!;
  const bytes = readFileSync(join(path, packsFile));
  bytes[3]! ^= 1;
  writeFileSync(join(path, packsFile), bytes);
  assert.equal(cache.load(), undefined, 'damaged');
  writeFileSync(join(path, 'current.json'), '{');
  assert.equal(cache.load(), undefined);
  cache.clear();
  assert.equal(cache.load(), undefined);
});
