// A server that answers whatever it likes: it must not exhaust memory, hang us, or name what is no object.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { isObjectName } from '../../src/storage/object-name.ts';
import { encodePacket, PacketType, type Field } from '../../src/storage/sftp/sftp-packet.ts';
import { SftpStorage } from '../../src/storage/sftp/sftp-storage.ts';
import { FakeSftpServer, type Tamper } from '../support/fake-sftp-server.ts';
import { createSandbox } from '../support/cli.ts';
import { testStorage } from '../support/storage-conformance.ts';

const place = { description: 'sftp://fake/', folder: '' };

testStorage('sftp, a server in memory', {
  open: async () => {
    const server = new FakeSftpServer();
    const storage = await SftpStorage.open(place, server);
    return { storage, second: storage, close: async () => await storage.close() };
  },
});

/** Uses a storage in all ways against the server. Every call must end, well or with an error that we know. */
async function useAll(server: FakeSftpServer): Promise<void> {
  server.folders.add('a');
  server.files.set('a/one', Buffer.from('the first object'));
  server.files.set('b+c+two', Buffer.from('a flat one'));
  let storage: SftpStorage | undefined;
  const attempt = async (work: (storage: SftpStorage) => Promise<unknown>): Promise<void> => {
    try {
      storage ??= await SftpStorage.open(place, server);
      await work(storage);
    } catch (error) {
      if (!(error instanceof SalvageError)) throw error;
      assert.equal(error.code, 'failed');
      assert.ok(error.message.length < 1000);
    }
  };
  await attempt(async (it) => await it.create('x/new', [Buffer.alloc(300_000, 1), Buffer.from('end')]));
  await attempt(async (it) => {
    const bytes = await it.read('a/one', { offset: 2, length: 100 });
    assert.ok((bytes?.length ?? 0) <= 100);
  });
  await attempt(async (it) => await it.read('b/c/two'));
  await attempt(async (it) => {
    const stat = await it.stat('a/one');
    assert.ok(stat === undefined || (Number.isSafeInteger(stat.sizeBytes) && stat.sizeBytes >= 0));
  });
  await attempt(async (it) => {
    let last = '';
    for await (const { name } of it.list('')) {
      assert.ok(isObjectName(name), name);
      assert.ok(name >= last, 'in order');
      last = name;
    }
  });
  await attempt(async (it) => await it.remove('a/one'));
  await attempt(async (it) => await it.removeUnfinished(0));
  await attempt(async (it) => await it.settle());
  await attempt(async (it) => await it.close());
}

test('no answer whose bytes were altered does more than make an error', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(60),
      fc.array(fc.tuple(fc.nat(100), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      async (which, changes) => {
        const tamper: Tamper = (answer, { count }) => {
          if (count !== which) return undefined;
          const changed = Buffer.from(answer);
          for (const [at, value] of changes) changed[at % changed.length] = value;
          return [changed];
        };
        await useAll(new FakeSftpServer(tamper, 40));
      },
    ),
    { numRuns: 150 },
  );
});

test('no answer of another kind, none twice, none cut short does more than make an error', async () => {
  const odd = fc.oneof(
    fc
      .constantFrom(101, 102, 103, 104, 105, 201, 2, 0, 255)
      .chain((type) =>
        fc
          .array(fc.oneof(fc.nat(0xffff_ffff), fc.bigInt(0n, 2n ** 64n - 1n), fc.string()), { maxLength: 6 })
          .map((fields) => (answer: Buffer) => [
            encodePacket(type, answer.readUInt32BE(5), fields as Field[]),
          ]),
      ),
    fc.constant((answer: Buffer) => [answer, answer]),
    fc.nat(20).map((length) => (answer: Buffer) => [answer.subarray(0, length)]),
    fc.constant(() => []),
    fc.uint8Array({ maxLength: 64 }).map((bytes) => () => [Buffer.from(bytes)]),
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(60), odd, async (which, make) => {
      const tamper: Tamper = (answer, { count }) => (count === which ? make(answer) : undefined);
      await useAll(new FakeSftpServer(tamper, 40));
    }),
    { numRuns: 150 },
  );
});

test('answers that come in single bytes are understood', async () => {
  const server = new FakeSftpServer((answer) => Array.from(answer, (byte) => Buffer.of(byte)));
  await useAll(server);
  assert.ok(server.files.get('x/new')?.length === 300_003);
});

test('names in a listing that are none of ours are left out', async () => {
  const names = [
    '..',
    '../up',
    '/etc/passwd',
    'a/b',
    '.hidden',
    'nul\0',
    '-x',
    'x y',
    'ä',
    '',
    'a+..+b',
    '+',
    'ok',
  ];
  let isSent = false;
  const server = new FakeSftpServer((answer, { type }) => {
    if (type !== PacketType.readdir || isSent) return undefined;
    isSent = true;
    const fields = names.flatMap((name) => [name, '', 0x5, 1n, 0o100_600]);
    return [encodePacket(PacketType.name, answer.readUInt32BE(5), [names.length, ...fields])];
  });
  const storage = await SftpStorage.open(place, server);
  const listed: string[] = [];
  for await (const { name } of storage.list('')) listed.push(name);
  assert.deepEqual(listed, ['ok']);
  await storage.close();
});

test('sizes that a server claims cost no memory', async () => {
  const huge = new FakeSftpServer((answer, { type }) =>
    type === PacketType.lstat
      ? [encodePacket(PacketType.attributes, answer.readUInt32BE(5), [0x5, 2n ** 63n, 0o100_600])]
      : undefined,
  );
  huge.files.set('object', Buffer.from('small'));
  const storage = await SftpStorage.open(place, huge);
  await assert.rejects(async () => await storage.read('object'), SalvageError);
  assert.deepEqual(
    await storage.read('object', { offset: 0, length: 10 }),
    new Uint8Array(Buffer.from('small')),
  );
  await storage.close();

  const longPacket = new FakeSftpServer((_, { count }) =>
    count === 1 ? [Buffer.of(0x7f, 0xff, 0xff, 0xff, 101)] : undefined,
  );
  await assert.rejects(
    async () => await SftpStorage.open(place, longPacket),
    (error) => error instanceof SalvageError && error.message.includes('2147483647'),
  );
});

test('more bytes than were asked for are refused', async () => {
  const server = new FakeSftpServer((answer, { type }) =>
    type === PacketType.read
      ? [encodePacket(PacketType.data, answer.readUInt32BE(5), [Buffer.alloc(100_000)])]
      : undefined,
  );
  server.files.set('object', Buffer.alloc(100));
  const storage = await SftpStorage.open(place, server);
  await assert.rejects(async () => await storage.read('object'), /other bytes than were asked for/);
  await storage.close();
});

test('a program that is no ssh is told from a server', async (t) => {
  const box = createSandbox(t);
  const run = async (script: string): Promise<string> => {
    writeFileSync(join(box.folder, 'fake'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const args = ['snapshots', '--repo', 'sftp://nowhere/x', '--ssh-command', `sh ${box.path('fake')}`];
    const { code, stderr } = await box.salvage(args);
    assert.equal(code, 1);
    return stderr;
  };
  assert.match(await run('echo Welcome to this machine'), /cannot be understood.*"Welc"[^]*login script/);
  assert.match(await run(`printf '\\033[2Jgo away\\n' >&2; exit 255`), /Cannot connect.*go away/);
  assert.match(await run('exit 0'), /Cannot connect.*ended/);
  assert.match(await run(`yes '\\377\\377\\377\\377'`), /cannot be understood/);
});
