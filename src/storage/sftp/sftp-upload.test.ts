import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { FakeSftpServer } from '../../../test/support/fake-sftp-server.ts';
import { concatBytes, equalBytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { patientRetries, type RetrySettings } from '../retry/backoff.ts';
import { RetryingStorage } from '../retry/retrying-storage.ts';
import { fromFlatName, toFlatName } from './flat-name.ts';
import { encodePacket, PacketType, StatusCode } from './sftp-packet.ts';
import { SftpStorage } from './sftp-storage.ts';

const place = { description: 'sftp://fake/', folder: '' };
const resume: RetrySettings = { ...patientRetries, firstDelayMs: 1, longestDelayMs: 1 };
/** What the fake server, without limits@openssh.com, is sent in one request. */
const pieceBytes = 32 * 1024;

async function* reusing(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(Math.max(1, ...parts.map(({ length }) => length)));
  for (const part of parts) {
    buffer.set(part);
    yield buffer.subarray(0, part.length);
    await Promise.resolve();
    buffer.fill(0);
  }
}

test('whatever its parts, an object is stored as it is, from memory and from a stream that reuses its buffer', async () => {
  const size = fc.oneof(
    fc.nat(300),
    fc.constantFrom(0, 1, pieceBytes / 4, pieceBytes - 1, pieceBytes, pieceBytes + 1, 3 * pieceBytes),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(size, { maxLength: 8 }), async (sizes) => {
      const parts = sizes.map((length, index) => new Uint8Array(length).map((_, at) => at * 7 + index));
      const server = new FakeSftpServer();
      const storage = await SftpStorage.open(place, server);
      assert.equal(await storage.create('whole', parts), 'created');
      assert.equal(await storage.createFromStream('stream', reusing(parts)), 'created');
      for (const name of ['whole', 'stream']) assert.deepEqual(await storage.read(name), concatBytes(parts));
      assert.deepEqual([...server.files.keys()].sort(), ['stream', 'whole']);
      await storage.close();
    }),
    { numRuns: 40 },
  );
});

test('wherever the connection breaks, a stream is stored whole', async () => {
  const parts = Array.from({ length: 40 }, (_, index) => new Uint8Array(10_000).fill(index));
  const whole = concatBytes(parts);
  // From the greeting and the first look to the link, which is request 23 where nothing breaks.
  for (let broken = 3; broken < 26; broken++) {
    let isBroken = false;
    const server: FakeSftpServer = new FakeSftpServer((_, { count }) => {
      if (isBroken || count !== broken) return undefined;
      isBroken = true;
      server.cut();
      return [];
    });
    const storage = new RetryingStorage(await SftpStorage.open(place, server, resume), resume);
    assert.equal(await storage.createFromStream('a/object', reusing(parts)), 'created', `request ${broken}`);
    assert.ok(equalBytes((await storage.read('a/object'))!, whole), `request ${broken}`);
    await storage.close();
  }
});

test('an upload whose creation was done and not confirmed goes on in its own file', async () => {
  let creations = 0;
  // Twice in a row: the second time the file is opened as one that is there.
  const server: FakeSftpServer = new FakeSftpServer((_, { type, text }) => {
    if (type !== PacketType.open || !text.startsWith('.incoming/') || ++creations > 2) return undefined;
    server.cut();
    return [];
  });
  const storage = await SftpStorage.open(place, server, resume);
  assert.equal(await storage.create('packs/05/object', [Buffer.from('content')]), 'created');
  assert.equal(creations, 3);
  assert.equal(Buffer.from((await storage.read('packs/05/object'))!).toString(), 'content');
  assert.deepEqual([...server.files.keys()], ['packs/05/object']);
  await storage.close();
});

test('an upload whose link was done late, over a lost connection, is its own', async () => {
  let late: Buffer | undefined;
  let isCut = false;
  const server: FakeSftpServer = new FakeSftpServer((_, { text }) => {
    const object = server.files.get('object');
    if (!isCut && object && text === 'hardlink@openssh.com') {
      isCut = true;
      late = object;
      server.files.delete('object');
      server.cut();
      return [];
    }
    // After the look whether it is there.
    if (late && text === 'object') server.files.set('object', late);
    return undefined;
  });
  const storage = new RetryingStorage(await SftpStorage.open(place, server, resume), resume);
  assert.equal(await storage.create('object', [Buffer.from('content')]), 'created');
  assert.equal(Buffer.from((await storage.read('object'))!).toString(), 'content');
  await storage.close();
});

test('an upload is not continued over what the server has lost', async () => {
  let writes = 0;
  const server: FakeSftpServer = new FakeSftpServer((_, { type }) => {
    if (type !== PacketType.write || ++writes !== 300) return undefined;
    for (const path of server.files.keys())
      if (path.startsWith('.incoming/')) server.files.set(path, Buffer.alloc(10));
    server.cut();
    return [];
  });
  const storage = await SftpStorage.open(place, server, resume);
  const parts = Array.from({ length: 160 }, () => new Uint8Array(100_000));
  await assert.rejects(async () => await storage.createFromStream('object', reusing(parts)), /lost a part/);
  assert.equal(await storage.stat('object'), undefined);
  await storage.close();
});

test('a server that only says that it has stored is found out, whatever it says it can do', async () => {
  const ok = (id: number): Buffer => encodePacket(PacketType.status, id, [StatusCode.ok, '', '']);
  // As rclone's server: hard links are all said to be made.
  const links = new FakeSftpServer((answer, { text }) =>
    text === 'hardlink@openssh.com' ? [ok(answer.readUInt32BE(5))] : undefined,
  );
  const renaming = await SftpStorage.open(place, links);
  assert.equal(renaming.capabilities.exclusiveCreate, false);
  await assert.rejects(async () => await renaming.create('object', [Buffer.from('x')]), SalvageError);
  await renaming.close();

  let isLying = false;
  const late: FakeSftpServer = new FakeSftpServer((_, { text }) => {
    if (isLying && text === 'hardlink@openssh.com') late.files.delete('object');
    return undefined;
  });
  const storage = await SftpStorage.open(place, late);
  isLying = true;
  await assert.rejects(
    async () => await storage.create('object', [Buffer.from('x')]),
    /is not there, or not whole/,
  );
  await storage.close();
});

test('flat names lead to their objects and back, and nothing else does', () => {
  assert.equal(toFlatName('packs/aa/x.age'), 'packs+aa+x.age');
  assert.equal(toFlatName('README.txt'), undefined);
  assert.equal(toFlatName(`a/${'x'.repeat(254)}`), undefined);
  assert.equal(fromFlatName('packs+aa+x.age'), 'packs/aa/x.age');
  for (const name of ['README.txt', '+a', 'a+', 'a++b', 'a+..+b', 'a+.b', 'a/b+c', `a+b\n`])
    assert.equal(fromFlatName(name), undefined, name);
});
