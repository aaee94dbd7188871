import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { FileEntry, FileType } from '../../posix/file-entry.ts';
import type { PackId } from '../ids.ts';
import { limits } from '../limits.ts';
import { PackTable } from '../pack/pack-table.ts';
import { countRanges, encodeRanges, noRanges, rangePack, type ContentRanges } from './content-ranges.ts';
import { TreeDecoder, type TreeRecord } from './tree-decoder.ts';
import { TreeEncoder, type TreeSegment } from './tree-encoder.ts';
import { formatTime, parseTime, treeLines } from './tree-line.ts';
import { compareTreePaths, isTreePath } from './tree-path.ts';

interface Item {
  readonly entry: FileEntry;
  readonly ranges: ContentRanges;
}

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();
const packIds = Array.from({ length: 5 }, (_, index) => digestOf(`pack ${index}`).toString('hex') as PackId);

function packTable(): PackTable {
  const packs = new PackTable();
  for (const id of packIds) packs.numberOf(id);
  return packs;
}

function entryOf(path: string | Buffer, type: FileType = 'file', more: Partial<FileEntry> = {}): FileEntry {
  return {
    path: Buffer.from(path),
    type,
    mode: 0o644,
    uid: 1000,
    gid: 1000,
    user: '',
    group: '',
    mtimeNs: 1n,
    size: 0,
    ...more,
  };
}

function encodeTree(items: readonly Item[], packs: PackTable): TreeSegment[] {
  const encoder = new TreeEncoder(packs);
  const segments: TreeSegment[] = [];
  for (const { entry, ranges } of items)
    for (const line of treeLines(entry, ranges)) segments.push(...encoder.add(line));
  const last = encoder.finish();
  return last ? [...segments, last] : segments;
}

function decodeTree(segments: readonly { bytes: Uint8Array }[], packs: PackTable): TreeRecord[] {
  const decoder = new TreeDecoder(packs);
  const records = segments.flatMap(({ bytes }) => decoder.decode(bytes, 'tree'));
  decoder.finish('tree');
  return records;
}

const isDamage = (error: unknown): boolean =>
  error instanceof SalvageError && error.code === 'damaged' && error.message.includes('"tree"');

/** `count` files in a few directories, in tree order. */
function manyItems(count: number): Item[] {
  const items: Item[] = [];
  for (let index = 0; index < count; index++) {
    if (index % 100 === 0)
      items.push({
        entry: entryOf(`d${String(index).padStart(7, '0')}`, 'directory', { mode: 0o755 }),
        ranges: noRanges,
      });
    const path = `d${String(index - (index % 100)).padStart(7, '0')}/file-${String(index).padStart(7, '0')}.txt`;
    const digest = digestOf(path);
    const ranges = encodeRanges([{ pack: index % 5, offset: index * 100, length: 100, digest }]);
    items.push({
      entry: entryOf(path, 'file', {
        size: 100,
        mtimeNs: 1_763_884_800_000_000_000n + BigInt(index),
        user: 'root',
      }),
      ranges,
    });
  }
  return items;
}

const name = fc
  .oneof(
    fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme' }).map((text) => Buffer.from(text)),
    fc.uint8Array({ minLength: 1, maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
  )
  .map((bytes) => Buffer.from(bytes.filter((byte) => byte !== 0 && byte !== 0x2f)))
  .filter((bytes) => bytes.length > 0 && !bytes.equals(Buffer.from('.')) && !bytes.equals(Buffer.from('..')));
const text = fc
  .string({ unit: 'grapheme', maxLength: 10 })
  .map((text) => text.replaceAll('\0', '').toWellFormed());
const number32 = fc.nat(2 ** 32 - 1);
const base = fc.record({
  path: name,
  mode: fc.nat(0o7777),
  uid: number32,
  gid: number32,
  user: text,
  group: text,
  mtimeNs: fc.bigInt(-(10n ** 19n), 10n ** 19n),
});
const xattrs = fc.option(
  fc.dictionary(
    fc.string({ minLength: 1, maxLength: 20 }).filter((name) => name !== '' && !name.includes('\0')),
    fc.uint8Array(),
    { minKeys: 1, maxKeys: 3 },
  ),
  { nil: undefined },
);
const item: fc.Arbitrary<Item> = fc
  .tuple(
    base,
    xattrs,
    fc.constantFrom<FileType>(
      'file',
      'directory',
      'symlink',
      'hardlink',
      'fifo',
      'socket',
      'character-device',
      'block-device',
    ),
    name,
    fc.array(fc.nat(4), { maxLength: 4 }),
    number32,
  )
  .map(([common, attributes, type, target, packs, number]) => {
    const ranges =
      type === 'file'
        ? packs.map((pack, index) => ({ pack, offset: index * 7, length: pack + 1, digest: randomBytes(32) }))
        : [];
    return {
      entry: {
        ...common,
        type,
        size: ranges.reduce((sum, { length }) => sum + length, 0),
        ...((type === 'symlink' || type === 'hardlink') && { target }),
        ...(type.endsWith('device') && { device: [number, number % 256] as const }),
        ...(attributes && {
          xattrs: new Map(Object.entries(attributes).map(([name, value]) => [name, Buffer.from(value)])),
        }),
      },
      ranges: encodeRanges(ranges),
    };
  });

test('every entry comes back as it was', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(item, {
        selector: ({ entry }) => entry.path.toString('hex'),
        maxLength: 20,
        minLength: 1,
      }),
      (items) => {
        const sorted = items.toSorted((a, b) => compareTreePaths(a.entry.path, b.entry.path));
        const packs = packTable();
        const segments = encodeTree(sorted, packs);
        const records = decodeTree(segments, packs);
        assert.equal(records.length, sorted.length);
        for (const [index, { entry, ranges }] of sorted.entries()) {
          assert.deepEqual(records[index]!.entry, entry);
          assert.ok(records[index]!.ranges.equals(ranges));
        }
      },
    ),
    { seed: 5, numRuns: 200 },
  );
});

test('segments have a mean of about 256 KiB, and an edit changes one or two of them', () => {
  const items = manyItems(20_000);
  const packs = packTable();
  const segments = encodeTree(items, packs);
  const mean = segments.reduce((sum, { bytes }) => sum + bytes.length, 0) / segments.length;
  assert.ok(mean > 150 * 1024 && mean < 400 * 1024, `mean ${mean}`);
  assert.deepEqual(
    segments.map(({ endsAtBoundary }) => endsAtBoundary),
    [...segments.slice(1).map(() => true), false],
  );
  assert.equal(decodeTree(segments, packs).length, items.length);
  const known = new Set(segments.map(({ bytes }) => createHash('sha1').update(bytes).digest('hex')));
  const edited = [
    ...items.slice(0, 9000),
    { ...items[9000]!, entry: { ...items[9000]!.entry, uid: 0 } },
    ...items.slice(9002),
  ];
  const fresh = encodeTree(edited, packs).filter(
    ({ bytes }) => !known.has(createHash('sha1').update(bytes).digest('hex')),
  );
  assert.ok(fresh.length <= 2, `${fresh.length} segments`);
});

test('the first path of a segment finds it, and a segment can be read alone', () => {
  const packs = packTable();
  const segments = encodeTree(manyItems(5000), packs);
  const second = segments[1]!;
  const records = new TreeDecoder(packs, { midTree: true }).decode(second.bytes, 'tree');
  assert.deepEqual(records[0]!.path, second.first);
  assert.equal(records.length, second.lines);
});

test('a huge file goes on in further lines and segments, and so do its holes', () => {
  const ranges = encodeRanges(
    Array.from({ length: 30_000 }, (_, index) => ({
      pack: index % 5,
      offset: 5,
      length: 10,
      digest: digestOf(String(index)),
    })),
  );
  const holes = Array.from({ length: 2500 }, (_, index) => [index * 20, 10] as const);
  const entry = entryOf('huge', 'file', { size: 300_000 + 25_000, holes });
  const packs = packTable();
  const segments = encodeTree(
    [
      { entry, ranges },
      { entry: entryOf('next'), ranges: noRanges },
    ],
    packs,
  );
  assert.ok(segments.length > 3);
  const records = decodeTree(segments, packs);
  assert.ok(records.every(({ ranges, holes }) => countRanges(ranges) <= 1024 && holes.length <= 1024));
  assert.deepEqual(
    records.flatMap(({ holes }) => holes),
    holes,
  );
  assert.ok(Buffer.concat(records.map(({ ranges }) => ranges)).equals(ranges));
  const middle = new TreeDecoder(packs, { midTree: true }).decode(segments[2]!.bytes, 'tree');
  assert.equal(middle[0]!.entry, undefined);
  assert.equal(middle[0]!.path.toString(), 'huge');
  const cut = new TreeDecoder(packs);
  cut.decode(segments[0]!.bytes, 'tree');
  assert.throws(() => cut.finish('tree'), isDamage, 'a tree that ends within a file');
});

test('a segment names the packs of its own lines and no others, however it came to end', () => {
  const packs = new PackTable();
  const encoder = new TreeEncoder(packs);
  const segments: TreeSegment[] = [];
  for (let index = 0; index < 20_000; index++) {
    const pack = packs.numberOf(digestOf(String(index)).toString('hex') as PackId);
    const ranges = encodeRanges([{ pack, offset: 0, length: 1, digest: digestOf('x') }]);
    for (const line of treeLines(entryOf(String(index).padStart(6, '0'), 'file', { size: 1 }), ranges))
      segments.push(...encoder.add(line));
  }
  segments.push(encoder.finish()!);
  for (const { bytes, packs: used, lines } of segments) {
    assert.equal(used.length, lines);
    assert.ok(bytes.length <= limits.segment);
    const seen = new TreeDecoder(packs, { midTree: true })
      .decode(bytes, 'tree')
      .map(({ ranges }) => rangePack(ranges, 0));
    assert.deepEqual(seen, used);
  }
});

test('the order of a tree: byte order, but what is in a directory before its longer neighbours', () => {
  const sorted = ['a', 'a/b', 'a/b/c', 'a/b-', 'a-b', 'a.b', 'a0', 'b'];
  const shuffled = sorted.toReversed().toSorted((a, b) => compareTreePaths(Buffer.from(a), Buffer.from(b)));
  assert.deepEqual(shuffled, sorted);
});

test('paths that lead anywhere else are none', () => {
  for (const path of [
    '',
    '/',
    '/a',
    'a/',
    'a//b',
    '.',
    '..',
    'a/..',
    '../a',
    'a/./b',
    'a/../b',
    'a\0b',
    'x'.repeat(65_536),
  ])
    assert.ok(!isTreePath(Buffer.from(path)), path);
  for (const path of ['a', '...', '.a', 'a..', 'a/..b/c', ' ', '\n', 'x'.repeat(65_535)])
    assert.ok(isTreePath(Buffer.from(path)), path);
});

test('times', () => {
  for (const [ns, text] of [
    [0n, '0.000000000'],
    [1n, '0.000000001'],
    [-1n, '-0.000000001'],
    [-1_500_000_000n, '-1.500000000'],
    [1_763_884_800_123_456_789n, '1763884800.123456789'],
  ] as const) {
    assert.equal(formatTime(ns), text);
    assert.equal(parseTime(text), ns);
  }
  for (const bad of [
    '',
    '1',
    '1.5',
    '01.000000000',
    '-0.000000000',
    '+1.000000000',
    '1.0000000000',
    '1e3.000000000',
    '1234567890123.000000000',
  ])
    assert.equal(parseTime(bad), undefined, bad);
});

const packLine = `{"packs":["${packIds[0]}"]}`;
const digest = digestOf('x').toString('base64url');
const fileLine = (members: string): string =>
  `{"path":"a","type":"file","mode":420,"uid":0,"gid":0,"mtime":"0.000000000",${members}}`;
const refused: Record<string, string> = {
  nothing: '',
  'no line feed at the end': `${packLine}\n${fileLine('"size":0')}`,
  'no entries': `${packLine}\n`,
  'no packs': `${fileLine('"size":0')}\n`,
  'a pack that is none': `{"packs":["abc"]}\n${fileLine('"size":0')}\n`,
  'a second member beside packs': `{"packs":[],"x":1}\n${fileLine('"size":0')}\n`,
  'no JSON': `${packLine}\n{"path":\n`,
  'an array': `${packLine}\n[]\n`,
  null: `${packLine}\nnull\n`,
  'an empty line': `${packLine}\n\n`,
  'an unknown member': `${packLine}\n${fileLine('"size":0,"atime":"0.000000000"')}\n`,
  'a member of its prototype': `${packLine}\n${fileLine('"size":0,"__proto__":{"x":1}')}\n`,
  'no size': `${packLine}\n${fileLine('"user":"x"')}\n`,
  'a negative size': `${packLine}\n${fileLine('"size":-1')}\n`,
  'a fraction': `${packLine}\n${fileLine('"size":0.5')}\n`,
  'content that is missing': `${packLine}\n${fileLine('"size":5')}\n`,
  'content that is too much': `${packLine}\n${fileLine(`"size":1,"content":[[0,0,2,"${digest}"]]`)}\n`,
  'a pack number too high': `${packLine}\n${fileLine(`"size":2,"content":[[1,0,2,"${digest}"]]`)}\n`,
  'a range outside any pack': `${packLine}\n${fileLine(`"size":2,"content":[[0,1073741823,2,"${digest}"]]`)}\n`,
  'a blob too long': `${packLine}\n${fileLine(`"size":5000000,"content":[[0,0,5000000,"${digest}"]]`)}\n`,
  'an empty range': `${packLine}\n${fileLine(`"size":0,"content":[[0,0,0,"${digest}"]]`)}\n`,
  'an empty content list': `${packLine}\n${fileLine('"size":0,"content":[]')}\n`,
  'a digest with loose bits': `${packLine}\n${fileLine(`"size":2,"content":[[0,0,2,"${'A'.repeat(42)}B"]]`)}\n`,
  'holes that touch': `${packLine}\n${fileLine('"size":2,"holes":[[0,1],[1,1]]')}\n`,
  'a hole past the end': `${packLine}\n${fileLine('"size":2,"holes":[[1,2]]')}\n`,
  'holes out of order': `${packLine}\n${fileLine('"size":9,"holes":[[5,1],[0,8]]')}\n`,
  'path and path64': `${packLine}\n${fileLine('"size":0,"path64":"YQ=="')}\n`,
  'a target of a file': `${packLine}\n${fileLine('"size":0,"target":"x"')}\n`,
  'a device of a file': `${packLine}\n${fileLine('"size":0,"device":[1,3]')}\n`,
  'a mode with type bits': `${packLine}\n{"path":"a","type":"fifo","mode":33188,"uid":0,"gid":0,"mtime":"0.000000000"}\n`,
  'a symlink without target': `${packLine}\n{"path":"a","type":"symlink","mode":511,"uid":0,"gid":0,"mtime":"0.000000000"}\n`,
  'a hardlink out of the tree': `${packLine}\n{"path":"a","type":"hardlink","mode":420,"uid":0,"gid":0,"mtime":"0.000000000","target":"../b"}\n`,
  'a path out of the tree': `${packLine}\n{"path":"../a","type":"fifo","mode":420,"uid":0,"gid":0,"mtime":"0.000000000"}\n`,
  'a path with half a surrogate': `${packLine}\n{"path":"\\ud800","type":"fifo","mode":420,"uid":0,"gid":0,"mtime":"0.000000000"}\n`,
  'the same path twice': `${packLine}\n${fileLine('"size":0')}\n${fileLine('"size":0')}\n`,
  'a path below a file': `${packLine}\n${fileLine('"size":0')}\n${fileLine('"size":0').replace('"a"', '"a/b"')}\n`,
  'paths out of order': `${packLine}\n${fileLine('"size":0').replace('"a"', '"b"')}\n${fileLine('"size":0')}\n`,
  'a continuation of nothing': `${packLine}\n{"continues":"a","content":[[0,0,2,"${digest}"]]}\n`,
  'a continuation of another file': `${packLine}\n${fileLine('"size":2')}\n{"continues":"b","content":[[0,0,2,"${digest}"]]}\n`,
  'holes after content': `${packLine}\n${fileLine(`"size":4,"content":[[0,0,2,"${digest}"]]`)}\n{"continues":"a","holes":[[2,2]]}\n`,
  'a line that is too long': `${packLine}\n${fileLine(`"size":0,"xattrs":{"user.x":"${'A'.repeat(1_048_576)}"}`)}\n`,
};

for (const [what, segment] of Object.entries(refused))
  test(`refused: ${what}`, () => {
    assert.throws(() => decodeTree([{ bytes: Buffer.from(segment) }], new PackTable()), isDamage);
  });

test('a segment that is not UTF-8, or too large, is refused', () => {
  const latin = Buffer.from(`${packLine}\n${fileLine('"size":0,"user":"\u00e4"')}\n`, 'latin1');
  assert.throws(() => decodeTree([{ bytes: latin }], new PackTable()), isDamage);
  assert.throws(
    () => decodeTree([{ bytes: Buffer.alloc(limits.segment + 1, 0x20) }], new PackTable()),
    isDamage,
  );
});

test('any change of a segment is read or refused, and nothing else happens', () => {
  const packs = packTable();
  const { bytes } = encodeTree(manyItems(20), packs)[0]!;
  fc.assert(
    fc.property(
      fc.nat(bytes.length - 1),
      fc.uint8Array({ maxLength: 4 }),
      fc.nat(4),
      (at, inserted, removed) => {
        const changed = Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at + removed)]);
        try {
          decodeTree([{ bytes: changed }], new PackTable());
        } catch (error) {
          if (!isDamage(error)) throw error;
        }
      },
    ),
    { seed: 6, numRuns: 2000 },
  );
});
