import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { entryOf, rawMember, readTar, writeTar } from '../../test/support/tar-streams.ts';
import { encodePaxRecord } from './pax-records.ts';

const end = Buffer.alloc(1024);

function pax(records: Record<string, string | Buffer>): Buffer {
  const content = Object.entries(records).map(([key, value]) => encodePaxRecord(key, value));
  return rawMember({ name: 'PaxHeaders/x', type: 'x' }, Buffer.concat(content));
}

function damaged(parts: Buffer[], message: RegExp): void {
  for (const piece of [undefined, 512, 100]) {
    assert.throws(() => readTar(Buffer.concat(parts), piece), { code: 'damaged', message });
  }
}

test('long names of GNU tar', () => {
  const name = 'n'.repeat(300);
  const [member] = readTar(
    Buffer.concat([
      rawMember({ name: '././@LongLink', type: 'L' }, `${name}\0`),
      rawMember({ name: '././@LongLink', type: 'K' }, `${'t'.repeat(200)}\0`),
      rawMember({ name: name.slice(0, 100), type: '2', linkname: 't'.repeat(100) }),
      end,
    ]),
  );
  assert.equal(member!.entry.path.toString(), name);
  assert.equal(member!.entry.target!.toString(), 't'.repeat(200));
});

test('base-256 numbers', () => {
  const block = rawMember({ name: 'f' }, 'hello');
  block.fill(0, 108, 116);
  block[108] = 0x80;
  block.writeUInt32BE(4_000_000_000, 112);
  block.fill(0xff, 136, 148);
  block.writeInt32BE(-2, 144);
  const [member] = readTar(Buffer.concat([withChecksum(block), end]));
  assert.equal(member!.entry.uid, 4_000_000_000);
  assert.equal(member!.entry.mtimeNs, -2_000_000_000n);
});

test('global headers are defaults, local ones come first, empty values take back', () => {
  const global = rawMember(
    { name: 'g', type: 'g' },
    Buffer.concat([encodePaxRecord('uname', 'everyone'), encodePaxRecord('comment', 'hi')]),
  );
  const members = readTar(
    Buffer.concat([
      global,
      rawMember({ name: 'a' }),
      pax({ uname: 'me' }),
      rawMember({ name: 'b' }),
      pax({ uname: '' }),
      rawMember({ name: 'c' }),
      end,
    ]),
  );
  assert.deepEqual(
    members.map(({ entry }) => entry.user),
    ['everyone', 'me', ''],
  );
});

test('attributes as libarchive writes them', () => {
  const [member] = readTar(
    Buffer.concat([pax({ 'LIBARCHIVE.xattr.user.a%20b': 'AAEC' }), rawMember({ name: 'f' }), end]),
  );
  assert.deepEqual(member!.entry.xattrs, new Map([['user.a b', Buffer.from([0, 1, 2])]]));
});

test('sparse files of the older pax formats', () => {
  const holes = [
    [0, 10],
    [13, 7],
  ];
  const map00 = Buffer.concat(
    [
      ['GNU.sparse.size', '20'],
      ['GNU.sparse.numblocks', '1'],
      ['GNU.sparse.offset', '10'],
      ['GNU.sparse.numbytes', '3'],
    ].map(([key, value]) => encodePaxRecord(key!, value!)),
  );
  const variants = [
    rawMember({ name: 'x', type: 'x' }, map00),
    pax({ 'GNU.sparse.size': '20', 'GNU.sparse.map': '10,3', 'GNU.sparse.name': 's' }),
  ];
  for (const header of variants) {
    const [member] = readTar(Buffer.concat([header, rawMember({ name: 's' }, 'abc'), end]));
    assert.equal(member!.entry.path.toString(), 's');
    assert.equal(member!.entry.size, 20);
    assert.deepEqual(member!.entry.holes, holes);
    assert.equal(member!.content.toString(), `${'\0'.repeat(10)}abc${'\0'.repeat(7)}`);
  }
});

test('paths are made plain, dangerous parts stay visible', () => {
  const cases: [string, string, boolean][] = [
    ['./a//b/./c', 'a/b/c', false],
    ['/etc/passwd', 'etc/passwd', true],
    ['a/../../b', 'a/../../b', false],
    ['./', '.', false],
    ['...', '...', false],
    ['.a/b.', '.a/b.', false],
  ];
  for (const [name, path, absolute] of cases) {
    const [member] = readTar(Buffer.concat([rawMember({ name }), end]));
    assert.equal(member!.entry.path.toString(), path);
    assert.equal(member!.entry.absolute, absolute);
  }
  const [old] = readTar(Buffer.concat([rawMember({ name: 'dir/' }), end]));
  assert.equal(old!.entry.type, 'directory');
});

test('sizes of what has no content are ignored, unknown types are files, volume labels nothing', () => {
  const members = readTar(
    Buffer.concat([
      rawMember({ name: 'label', type: 'V' }),
      rawMember({ name: 'l', type: '1', linkname: './t' }, '', 12345),
      rawMember({ name: 'strange', type: 'Z' }, 'text'),
      end,
    ]),
  );
  assert.deepEqual(
    members.map(({ entry, content }) => [entry.type, entry.size, content.toString()]),
    [
      ['hardlink', 0, ''],
      ['file', 4, 'text'],
    ],
  );
  assert.equal(members[0]!.entry.target!.toString(), 't');
});

test('what follows the end mark is ignored; without the mark an archive may end between entries only', () => {
  const member = rawMember({ name: 'f' }, 'x');
  assert.equal(readTar(Buffer.concat([member, end, Buffer.from('garbage')])).length, 1);
  assert.equal(readTar(member).length, 1);
  damaged([member.subarray(0, 700)], /middle of an entry/);
  damaged([member, member.subarray(0, 100)], /middle of an entry/);
  damaged([pax({ path: 'x' })], /middle of an entry/);
  assert.throws(() => readTar(Buffer.alloc(0)), { code: 'damaged', message: /no tar archive/ });
});

test('broken and hostile headers', () => {
  const good = rawMember({ name: 'f' }, 'x');
  const flipped = Buffer.from(good);
  flipped[0]! ^= 1;
  damaged([flipped], /checksum/);
  damaged([Buffer.from('this is no tar archive at all'.repeat(40))], /checksum|not a number/);
  const size = Buffer.from(good);
  size.fill(0x7f, 124, 136);
  size[124] = 0x80;
  damaged([withChecksum(size)], /absurd/);
  size.fill(0xff, 124, 136);
  damaged([withChecksum(size)], /negative/);
  damaged([rawMember({ name: 'x', type: 'x' }, '', 2 ** 33 - 1)], /announces/);
  damaged([rawMember({ name: 'x', type: 'g' }, '', 17 << 20)], /announces/);
  damaged([rawMember({ name: 'x', type: 'L' }, '', 65537)], /announces/);
  for (const content of [
    '99 path=x\n',
    '0 path=x\n',
    'path=x\n',
    '9 path=xy',
    '-5 a=b\n',
    '8 pathx\n',
    '6 a b=\n',
  ]) {
    damaged([rawMember({ name: 'x', type: 'x' }, content), good], /record/);
  }
  damaged([pax({ size: '-1' }), good], /not a number/);
  damaged([pax({ size: '99999999999999999999' }), good], /not a number/);
  damaged([pax({ mtime: '1e9' }), good], /not a time/);
});

test('hostile sparse maps', () => {
  const v1 = { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '100' };
  const map = (text: string, data = ''): Buffer =>
    Buffer.concat([Buffer.from(text), Buffer.alloc((512 - (text.length % 512)) % 512), Buffer.from(data)]);
  const file = (text: string, data?: string): Buffer => rawMember({ name: 's' }, map(text, data));
  damaged([pax(v1), file('2\n50\n10\n40\n10\n', 'x'.repeat(20))], /overlap/);
  damaged([pax(v1), file('1\n95\n10\n', 'x'.repeat(10))], /beyond the end/);
  damaged([pax(v1), file('1\n0\n50\n', 'x'.repeat(10))], /does not fit/);
  damaged([pax(v1), file('9999999999\n')], /no end|absurd/);
  damaged([pax(v1), file('99999999999999999999\n')], /absurd/);
  damaged([pax(v1), file('-1\n')], /absurd/);
  damaged([pax({ ...v1, 'GNU.sparse.realsize': '' }), file('1\n0\n1\n', 'x')], /does not fit/);
  damaged([pax({ 'GNU.sparse.size': '10', 'GNU.sparse.map': '1,2,3' }), file('')], /cut/);
});

test('whatever bytes come, the reader answers with entries or with an error of its own', () => {
  const valid = writeTar([
    [entryOf({ path: 'a'.repeat(200), mtimeNs: 1n, xattrs: new Map([['user.x', Buffer.from('y')]]) }), 'abc'],
    [entryOf({ path: 's', holes: [[0, 1024]] }), `${'\0'.repeat(1024)}x`],
  ]);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 6 }),
      fc.boolean(),
      (changes, fix) => {
        const bytes = Buffer.from(valid);
        for (const [at, value] of changes) bytes[at] = value;
        if (fix)
          for (let at = 0; at < bytes.length; at += 512)
            if (bytes.toString('latin1', at + 257, at + 262) === 'ustar') withChecksum(bytes, at);
        try {
          readTar(bytes, 1000);
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'damaged', String(error));
        }
      },
    ),
    { numRuns: 300 },
  );
});

/** The block at an offset with the checksum that fits it. */
function withChecksum(block: Buffer, at = 0): Buffer {
  block.fill(0x20, at + 148, at + 156);
  let sum = 0;
  for (let index = at; index < at + 512; index++) sum += block[index]!;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
  return block;
}
