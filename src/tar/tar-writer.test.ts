import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { extract } from 'tar-stream';
import { entryOf, readTar, writeTar } from '../../test/support/tar-streams.ts';
import type { FileEntry } from '../posix/file-entry.ts';
import { encodeTarHeader } from './tar-writer.ts';

function roundTrip(entry: FileEntry, content = ''): FileEntry {
  const [member, ...rest] = readTar(writeTar([[entry, content]]));
  assert.equal(rest.length, 0);
  const { absolute, offset, ...read } = member!.entry;
  assert.deepEqual([absolute, offset >= 0], [false, true]);
  assert.equal(member!.content.toString(), content);
  return read;
}

/** Whether the entry needed a pax header. */
function usesPax(entry: FileEntry): boolean {
  return encodeTarHeader(entry)[156] === 'x'.charCodeAt(0);
}

/** A path of this length: directories of `part` bytes each. */
function longPath(length: number, part = 50): string {
  let path = '';
  while (path.length < length) path += `${'d'.repeat(Math.min(part, length - path.length))}/`;
  return path.slice(0, length).replace(/\/$/, 'e');
}

test('names around the limits of ustar', () => {
  const cases: [string, boolean][] = [
    ['a', false],
    ['n'.repeat(99), false],
    ['n'.repeat(100), false],
    ['n'.repeat(101), true],
    [`d/${'n'.repeat(100)}`, false],
    [`d/${'n'.repeat(101)}`, true],
    [`${'d'.repeat(154)}/n`, false],
    [`${'d'.repeat(155)}/n`, false],
    [`${'d'.repeat(156)}/n`, true],
    [`${'d'.repeat(155)}/${'n'.repeat(100)}`, false],
    [`${'d'.repeat(154)}/${'n'.repeat(100)}`, false],
    [longPath(257), true],
    [longPath(4095), true],
  ];
  for (const [path, pax] of cases) {
    const entry = entryOf({ path });
    assert.equal(usesPax(entry), pax, `${path.length} bytes: ${path.slice(0, 20)}`);
    assert.deepEqual(roundTrip(entry), entry);
  }
});

test("a directory's slash counts, and the top is ./", () => {
  for (const length of [98, 99, 100, 101, 155, 156, 255, 256]) {
    const entry = entryOf({ path: longPath(length, 40), type: 'directory' });
    assert.deepEqual(roundTrip(entry), entry, `${length} bytes`);
  }
  assert.equal(usesPax(entryOf({ path: 'd'.repeat(99), type: 'directory' })), false);
  assert.equal(usesPax(entryOf({ path: 'd'.repeat(100), type: 'directory' })), true);
  const top = entryOf({ path: '.', type: 'directory' });
  assert.equal(encodeTarHeader(top).toString('latin1', 0, 3), './\0');
  assert.deepEqual(roundTrip(top), top);
});

test('link targets around 100 bytes', () => {
  for (const type of ['symlink', 'hardlink'] as const) {
    for (const length of [1, 99, 100, 101, 300]) {
      const entry = entryOf({ path: 'l', type, target: Buffer.from(longPath(length)) });
      assert.equal(usesPax(entry), length > 100);
      assert.deepEqual(roundTrip(entry), entry);
    }
  }
  const odd = entryOf({ path: 'l', type: 'symlink', target: Buffer.from('/../x//y/') });
  assert.deepEqual(roundTrip(odd), odd);
});

test('numbers around the limits of octal fields', () => {
  for (const [field, limit] of [
    ['uid', 2 ** 21 - 1],
    ['gid', 2 ** 21 - 1],
  ] as const) {
    for (const value of [0, 1, limit - 1, limit, limit + 1, 2 ** 32 - 2]) {
      const entry = entryOf({ path: 'f', [field]: value });
      assert.equal(usesPax(entry), value > limit);
      assert.deepEqual(roundTrip(entry), entry);
    }
  }
  // Too large a file to hold: only its header.
  for (const size of [2 ** 33 - 1, 2 ** 33, 2 ** 53 - 1]) {
    const entry = entryOf({ path: 'f', size });
    assert.equal(usesPax(entry), size >= 2 ** 33);
    assert.throws(() => readTar(encodeTarHeader(entry)), { code: 'damaged', message: /middle of an entry/ });
  }
  const device = entryOf({ path: 'd', type: 'block-device', device: [4095, 1048575] });
  assert.deepEqual(roundTrip(device), device);
});

test('times keep their nanoseconds, before 1970 and after 2242 too', () => {
  const second = 1_000_000_000n;
  for (const mtimeNs of [
    0n,
    1n,
    5n * second,
    2n ** 33n * second - second,
    2n ** 33n * second,
    -1n,
    -second,
    -3n * second - 7n,
    1_700_000_000_123_456_789n,
  ]) {
    const entry = entryOf({ path: 'f', mtimeNs });
    const plain = mtimeNs >= 0n && mtimeNs % second === 0n && mtimeNs < 2n ** 33n * second;
    assert.equal(usesPax(entry), !plain);
    assert.deepEqual(roundTrip(entry), entry);
  }
});

test('names of owners, modes, attributes', () => {
  const entries = [
    entryOf({ path: 'f', user: 'u'.repeat(31), group: 'g'.repeat(32) }),
    entryOf({ path: 'f', user: '', group: 'größe' }),
    entryOf({ path: 'f', mode: 0o7777 }),
    entryOf({
      path: 'f',
      xattrs: new Map([
        ['user.binary', Buffer.from([0, 1, 10, 61, 255])],
        ['user.empty', Buffer.alloc(0)],
        ['user.a=b%c', Buffer.from('x')],
        ['user.long', Buffer.alloc(65536, 7)],
      ]),
    }),
  ];
  for (const entry of entries) assert.deepEqual(roundTrip(entry), entry);
});

test('names that are not UTF-8', () => {
  for (const path of [
    Buffer.from([0x66, 0xff]),
    Buffer.concat([Buffer.alloc(200, 0xe9), Buffer.from('/x')]),
  ]) {
    const entry = entryOf({ path });
    assert.equal(encodeTarHeader(entry).includes('hdrcharset=BINARY\n'), path.length > 100);
    assert.deepEqual(roundTrip(entry), entry);
  }
});

test('holes', () => {
  const content = 'x'.repeat(4096);
  const hole = '\0'.repeat(4096);
  const cases: [string, [number, number][]][] = [
    [hole + content, [[0, 4096]]],
    [content + hole, [[4096, 4096]]],
    [hole, [[0, 4096]]],
    [
      content + hole + content + hole,
      [
        [4096, 4096],
        [12288, 4096],
      ],
    ],
  ];
  for (const [text, holes] of cases) {
    const entry = entryOf({ path: 'sparse/file', holes });
    assert.deepEqual(roundTrip({ ...entry, size: text.length }, text), { ...entry, size: text.length });
  }
});

test('any entry comes back as it was, however the stream is cut', () => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((array) => {
    const text = Buffer.from(array).toString('latin1').replaceAll(/[\0/]/g, 'x');
    return Buffer.from(/^\.{1,2}$/.test(text) ? 'dots' : text, 'latin1');
  });
  const entries = fc.record({
    path: bytes,
    mode: fc.nat(0o7777),
    uid: fc.nat(2 ** 32 - 2),
    gid: fc.nat(2 ** 32 - 2),
    user: fc.string({ maxLength: 40 }).filter((text) => !text.includes('\0') && text.isWellFormed()),
    mtimeNs: fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }),
  });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(entries, fc.string({ maxLength: 1500 })), { maxLength: 4, minLength: 1 }),
      fc.integer({ min: 1, max: 2000 }),
      (list, piece) => {
        const members = list.map(([given, text]) => [entryOf(given), text] as const);
        const read = readTar(writeTar(members), piece);
        for (const [index, [entry, text]] of members.entries()) {
          const { absolute: _a, offset: _o, ...found } = read[index]!.entry;
          assert.deepEqual(found, { ...entry, size: Buffer.from(text).length });
          assert.equal(read[index]!.content.toString(), text);
        }
      },
    ),
    { numRuns: 60 },
  );
});

test('tar-stream reads plain entries the same', async () => {
  const stream = writeTar([
    [entryOf({ path: 'dir', type: 'directory', mode: 0o755 })],
    [entryOf({ path: `dir/${'n'.repeat(150)}`, uid: 2_000_000, user: 'ünï' }), 'content'],
    [entryOf({ path: 'dir/link', type: 'symlink', target: Buffer.from('t'.repeat(120)) })],
  ]);
  const found: unknown[] = [];
  const parser = extract();
  parser.end(stream);
  for await (const member of parser) {
    const { name, type, uid, mode, linkname, uname } = member.header;
    const parts: Buffer[] = [];
    for await (const part of member) parts.push(part as Buffer);
    found.push([name, type, uid, mode, linkname || null, uname, Buffer.concat(parts).toString()]);
  }
  assert.deepEqual(found, [
    ['dir/', 'directory', 1000, 0o755, null, 'ada', ''],
    [`dir/${'n'.repeat(150)}`, 'file', 2_000_000, 0o644, null, 'ünï', 'content'],
    ['dir/link', 'symlink', 1000, 0o644, 't'.repeat(120), 'ada', ''],
  ]);
});
