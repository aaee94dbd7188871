// Archives made to do harm, and archives that were harmed: nothing outside the folder, nothing half, a clear word.
import assert from 'node:assert/strict';
import { existsSync, lstatSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { after, before, beforeEach, describe, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { encryptStream } from '../../src/age/encrypt-stream.ts';
import { parseRecipient } from '../../src/age/parse-recipient.ts';
import { encodePaxRecord } from '../../src/tar/pax-records.ts';
import { createSandbox, type RunResult, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';
import { rawMember } from '../support/tar-streams.ts';

const end = Buffer.alloc(1024);
/** Bytes of a sealed chunk (C2SP age.md "Payload"). */
const chunkBytes = 65536 + 16;

describe('hostile and damaged archives', needsPeers, () => {
  let cleanups: (() => void)[] = [];
  let box: Sandbox;
  let recipient: string;
  let identity: string;
  const runCleanups = (): void => {
    for (const clean of cleanups) clean();
    cleanups = [];
  };
  const keyCleanups: (() => void)[] = [];
  before(async () => {
    const keys = createSandbox({ after: (clean: () => void) => keyCleanups.push(clean) } as never);
    const { code, stderr } = await keys.shell(
      'ssh-keygen -q -t ed25519 -N "" -f id; ssh-keygen -q -t ed25519 -N "" -f other',
    );
    assert.equal(code, 0, stderr);
    recipient = keys.read('id.pub').toString().trim();
    identity = keys.path('id');
  });
  beforeEach(() => {
    runCleanups();
    box = createSandbox({ after: (clean: () => void) => cleanups.push(clean) } as never);
    box.write('outside/precious', 'precious');
    mkdirSync(box.path('out'));
  });
  after(() => {
    runCleanups();
    keyCleanups.forEach((clean) => clean());
  });

  async function encrypt(plaintext: Uint8Array): Promise<Buffer> {
    async function* source(): AsyncGenerator<Uint8Array> {
      yield plaintext;
    }
    const parts: Uint8Array[] = [];
    for await (const part of encryptStream(source(), [parseRecipient(recipient)!])) parts.push(part);
    return Buffer.concat(parts);
  }

  async function openBytes(bytes: Uint8Array, ...args: string[]): Promise<RunResult> {
    box.write('x.age', bytes);
    return box.salvage(['open', 'x.age', '-i', identity, '-C', 'out', ...args]);
  }

  async function openTar(parts: readonly Buffer[], ...args: string[]): Promise<RunResult> {
    return openBytes(await encrypt(Buffer.concat([...parts, end])), ...args);
  }

  /** Nothing beside `out` was made, changed or removed. */
  function assertOutsideUntouched(): void {
    assert.equal(readFileSync(box.path('outside/precious'), 'utf8'), 'precious');
    assert.deepEqual(readdirSync(box.path('outside')), ['precious']);
    assert.deepEqual(readdirSync(box.folder).sort(), ['.home', 'out', 'outside', 'x.age']);
  }

  const good = rawMember({ name: 'good' }, 'good');

  test('paths that lead out are refused and named, the rest is restored', async () => {
    const names = ['../escaped', 'a/../../escaped', '..', 'a/..', '/../escaped'];
    const { code, stderr } = await openTar([...names.map((name) => rawMember({ name }, 'x')), good]);
    assert.equal(code, 13, stderr);
    for (const name of names)
      assert.ok(stderr.includes(`"${name.replace(/^\//, '')}"`), `${name} in ${stderr}`);
    assert.match(stderr, /5 of its members/);
    assert.deepEqual(readdirSync(box.path('out')), ['good']);
    assertOutsideUntouched();
  });

  test('absolute paths land below the folder', async () => {
    const { code, stderr } = await openTar([
      rawMember({ name: `${box.folder}/outside/precious` }, 'overwritten'),
    ]);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /absolute/);
    assert.equal(readFileSync(box.path('out', box.folder, 'outside/precious'), 'utf8'), 'overwritten');
    assertOutsideUntouched();
  });

  test('nothing is written through a symlink, whether to a directory, a file, or a chain of them', async () => {
    const { code, stderr } = await openTar([
      rawMember({ name: 'dir', type: '2', linkname: '../outside' }),
      rawMember({ name: 'dir/new' }, 'x'),
      rawMember({ name: 'dir/precious' }, 'x'),
      rawMember({ name: 'dir/made', type: '5' }),
      rawMember({ name: 'dir/link', type: '1', linkname: 'good' }),
      rawMember({ name: 'file', type: '2', linkname: '../outside/precious' }),
      rawMember({ name: 'file' }, 'x'),
      rawMember({ name: 'chain', type: '2', linkname: 'dir' }),
      rawMember({ name: 'chain/deep/new' }, 'x'),
      good,
    ]);
    assert.notEqual(code, 0, stderr);
    assert.ok(lstatSync(box.path('out/dir')).isSymbolicLink());
    assert.ok(lstatSync(box.path('out/file')).isFile());
    assert.ok(existsSync(box.path('out/good')));
    assertOutsideUntouched();
  });

  test('hard links lead only to what the archive itself holds', async () => {
    const { code, stderr } = await openTar([
      rawMember({ name: 'a', type: '1', linkname: '../outside/precious' }),
      rawMember({ name: 'b', type: '1', linkname: box.path('outside/precious') }),
      rawMember({ name: 'dir', type: '2', linkname: '../outside' }),
      rawMember({ name: 'c', type: '1', linkname: 'dir/precious' }),
      rawMember({ name: 'c' }, 'overwritten'),
      rawMember({ name: 'd', type: '1', linkname: 'd' }),
      good,
    ]);
    assert.notEqual(code, 0, stderr);
    for (const name of ['a', 'b', 'd']) assert.ok(!existsSync(box.path('out', name)), name);
    assert.equal(lstatSync(box.path('outside/precious')).nlink, 1);
    assertOutsideUntouched();
  });

  test('devices only when allowed', async () => {
    const devices = [rawMember({ name: 'char', type: '3' }), rawMember({ name: 'block', type: '4' }), good];
    const { code, stderr } = await openTar(devices);
    assert.equal(code, 3, stderr);
    assert.match(stderr, /device "char"[\s\S]*--allow-devices[\s\S]*device "block"/);
    assert.deepEqual(readdirSync(box.path('out')), ['good']);
  });

  test(
    'no setuid bits without root',
    { skip: process.getuid?.() !== 0 && 'needs root to become somebody else' },
    async () => {
      const member = Buffer.from(good);
      member.write('0004755\0', 100, 'latin1');
      member.fill(0x20, 148, 156);
      const sum = member.subarray(0, 512).reduce((total, byte) => total + byte, 0);
      member.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
      box.write('x.age', await encrypt(Buffer.concat([member, end])));
      box.write('key', readFileSync(identity), 0o600);
      const { code, stderr } = await box.shell(`
      chmod 755 .; chmod 777 out; chown 65534 key; chmod 400 key; salvage open x.age -i key -C root
      setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/ "$(command -v salvage)" open x.age -i key -C out`);
      assert.ok(code === 0 || code === 3, stderr);
      assert.equal(lstatSync(box.path('root/good')).mode & 0o7777, 0o4755);
      assert.equal(lstatSync(box.path('out/good')).mode & 0o7000, 0);
    },
  );

  test('names with control characters and odd bytes are shown as text', async () => {
    const name = '\u001b[2J\u001b]0;owned\u0007\r\nfake: line';
    const members = [rawMember({ name: `../${name}` }, 'x'), rawMember({ name, type: '2', linkname: name })];
    for (const args of [[], ['--list'], ['--list', '-v'], ['--test', '-v']]) {
      const { stdout, stderr } = await openTar(members, ...args);
      assert.doesNotMatch(stdout.toString() + stderr, /[\u0000-\u0009\u000b-\u001f\u007f]/);
    }
  });

  test('absurd sizes are refused before memory is taken', async () => {
    const sparse = [
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.realsize', '9007199254740991'],
    ].map(([key, value]) => encodePaxRecord(key!, value!));
    const cases: Buffer[][] = [
      [rawMember({ name: 'x', type: 'x' }, '', 2 ** 33 - 1)],
      [rawMember({ name: 'L', type: 'L' }, '', 2 ** 33 - 1)],
      [rawMember({ name: 'x', type: 'x' }, encodePaxRecord('size', '9007199254740991')), good],
      [
        rawMember({ name: 'x', type: 'x' }, Buffer.concat(sparse)),
        rawMember({ name: 's' }, '1048577\n'.padEnd(512, '1\n')),
      ],
    ];
    for (const parts of cases) {
      const { code, stderr } = await openTar(parts);
      assert.equal(code, 13, stderr);
      assert.match(stderr, /Cannot read the tar archive at byte \d+/);
      assert.deepEqual(readdirSync(box.path('out')), []);
    }
  });

  test('a compression bomb is only as large as what is asked of it', async () => {
    // 256 MiB of one member's header repeated, in a few kilobytes.
    const block = Buffer.concat(Array.from({ length: 2048 }, () => rawMember({ name: 'd', type: '5' })));
    const frame = zstdCompressSync(block);
    const bomb = await encrypt(Buffer.concat(Array.from({ length: 256 }, () => frame)));
    box.write('x.age', bomb);
    const { code, stderr, stdout } = await box.shell(
      `ulimit -v 40000000; /usr/bin/time -f 'peak %M' salvage open x.age -i ${identity} --list | tail -n 1`,
    );
    assert.equal(code, 0, stderr);
    assert.equal(stdout.toString(), 'd/\n');
    assert.ok(Number(/peak (\d+)/.exec(stderr)![1]) < 300_000, stderr);
  });

  test('wrong key, truncated header, other files: a clear word and nothing made', async () => {
    const bytes = await encrypt(Buffer.concat([good, end]));
    const cases: [Uint8Array, string, number, RegExp][] = [
      [bytes, `${identity.slice(0, -2)}other`, 12, /no identity opens it/],
      [bytes.subarray(0, 100), identity, 13, /age header/],
      [bytes.subarray(0, 20), identity, 13, /age header/],
      [Buffer.alloc(0), identity, 13, /age header/],
      [Buffer.from('no age file at all'), identity, 13, /age header|not an age file/],
      [await encrypt(Buffer.from('this is no archive'.repeat(100))), identity, 13, /tar archive/],
      [await encrypt(Buffer.alloc(0)), identity, 13, /no tar archive/],
    ];
    for (const [content, key, expected, message] of cases) {
      box.write('x.age', content);
      const { code, stderr } = await box.salvage(['open', 'x.age', '-i', key, '-C', 'new']);
      assert.match(stderr, message);
      assert.equal(code, expected, stderr);
      assert.ok(!existsSync(box.path('new')));
    }
    const missing = await box.salvage(['open', 'nothing.age', '-i', identity]);
    assert.match(missing.stderr, /Cannot read "nothing\.age": no such file/);
    assert.equal(missing.code, 1);
  });

  /** Eight members of 40,000 bytes, so that a chunk holds more than one and one spans two chunks. */
  const members = Array.from({ length: 8 }, (_, index) =>
    rawMember({ name: `m${index}` }, Buffer.alloc(40_000, 97 + index)),
  );
  const contents = members.map((_, index) => Buffer.alloc(40_000, 97 + index));

  /** Whole members only, the first ones without a gap. Answers how many. */
  function countWhole(): number {
    const names = readdirSync(box.path('out')).sort();
    assert.deepEqual(
      names,
      names.map((_, index) => `m${index}`),
    );
    for (const [index, name] of names.entries())
      assert.ok(box.read(`out/${name}`).equals(contents[index]!), name);
    return names.length;
  }

  test('a chunk that was changed, swapped, doubled, dropped or followed by something ends the archive before it', async () => {
    const bytes = await encrypt(Buffer.concat([...members, end]));
    const payload = bytes.indexOf('\n', bytes.indexOf('\n--- ') + 1) + 1 + 16;
    const chunk = (index: number): Buffer =>
      bytes.subarray(payload + index * chunkBytes, payload + (index + 1) * chunkBytes);
    const head = bytes.subarray(0, payload);
    const chunks = Array.from({ length: Math.ceil((bytes.length - payload) / chunkBytes) }, (_, index) =>
      chunk(index),
    );
    const flipped = (index: number): Buffer[] =>
      chunks.map((part, at) => {
        const copy = Buffer.from(part);
        if (at === index) copy[100]! ^= 1;
        return copy;
      });
    const cases: [string, Buffer[], number][] = [
      ...chunks.map(
        (_, index) => [`flipped in ${index}`, flipped(index), index] as [string, Buffer[], number],
      ),
      ['swapped', [chunks[0]!, chunks[2]!, chunks[1]!, ...chunks.slice(3)], 1],
      ['doubled', [chunks[0]!, chunks[0]!, ...chunks.slice(1)], 1],
      ['dropped', [chunks[0]!, ...chunks.slice(2)], 1],
      ['trailing', [...chunks, Buffer.from('more')], chunks.length - 1],
    ];
    for (const [name, parts, wholeChunks] of cases) {
      for (const file of readdirSync(box.path('out'))) await box.shell(`rm -r out/${file}`);
      const { code, stderr } = await openBytes(Buffer.concat([head, ...parts]));
      assert.equal(code, 13, `${name}: ${stderr}`);
      assert.match(stderr, /Cannot decrypt/, name);
      const expected = Math.floor((wholeChunks * 65536) / members[0]!.length);
      const found = countWhole();
      assert.ok(found >= expected, `${name}: ${found} of ${expected}`);
      if (found > 0)
        assert.match(stderr, new RegExp(`first ${found} members are whole, up to "m${found - 1}"`));
    }
  });

  test('cut anywhere, an archive yields whole files only and says where it ended', async () => {
    const tar = Buffer.concat([...members, end]);
    for (const plaintext of [tar, gzipSync(tar, { level: 0 }), zstdCompressSync(tar)]) {
      const bytes = await encrypt(plaintext);
      for (const share of [0.25, 0.5, 0.9, 1 - 1 / bytes.length]) {
        for (const file of readdirSync(box.path('out'))) await box.shell(`rm -r out/${file}`);
        const { code, stderr } = await openBytes(bytes.subarray(0, Math.floor(bytes.length * share)));
        assert.equal(code, 13, stderr);
        countWhole();
      }
      // The age file is whole, what is in it is not.
      const { code, stderr } = await openBytes(
        await encrypt(plaintext.subarray(0, plaintext.length / 2)),
        '--overwrite',
        'always',
      );
      assert.equal(code, 13, stderr);
      countWhole();
    }
  });
});
