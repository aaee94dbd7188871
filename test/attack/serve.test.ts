// A host that has fallen, at the append-only door: whatever it sends, it gets an error, and nothing that was there before
// changes, nothing half is left, nothing is read that is not public, and the server's memory stays small.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough, Writable, type Readable } from 'node:stream';
import { test, type TestContext } from 'node:test';
import {
  assert as assertProperty,
  asyncProperty,
  constant,
  nat,
  oneof,
  record,
  uint8Array,
} from 'fast-check';
import { systemClock } from '../../src/clock/clock.ts';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { openServedFolder, type ServeFolderOptions } from '../../src/operation/serve/serve-folder.ts';
import { replyTypes } from '../../src/storage/serve/frame.ts';
import { encodeCreate, encodeEnd, errorCodes } from '../../src/storage/serve/messages.ts';
import { serveStorage, usualTimeouts, type ServeTimeouts } from '../../src/storage/serve/serve-connection.ts';
import { salvage } from '../support/cli.ts';
import { frame, hello, named, RawServeClient, reading, upload } from '../support/raw-serve-client.ts';

const oldPack = Buffer.from('the ciphertext of last year');
const packNameOf = (bytes: Uint8Array): string => {
  const digest = createHash('sha256').update(bytes).digest('hex');
  return `packs/${digest.slice(0, 2)}/${digest}.age`;
};
const snapshot = 'snapshots/00000001-20261123T112804Z-508a887c';
const old: Readonly<Record<string, string>> = {
  'repository.json': '{"format":"salvage-repository"}',
  [packNameOf(oldPack)]: oldPack.toString(),
  [`${snapshot}/root.age`]: 'private',
  [`${snapshot}/SHA256SUMS`]: 'public',
  [`${snapshot}/SHA256SUMS.sig`]: 'public too',
  'keeper/00000001-20261123T112804Z.json': '{}',
  'archive.tar.zst.age': 'an archive',
};

/** A folder with something in it, and something beside it. */
function prepare(t: TestContext): string {
  const parent = mkdtempSync(join(tmpdir(), 'salvage-attack-'));
  t.after(() => rmSync(parent, { recursive: true, force: true }));
  const root = join(parent, 'web-1');
  for (const [name, content] of Object.entries(old)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), content);
  }
  writeFileSync(join(parent, 'outside'), 'somebody else');
  return root;
}

/** What is stored, by path; the server's own bookkeeping left out. */
function stored(root: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const path = `${entry.parentPath}/${entry.name}`.slice(root.length + 1);
    if (entry.isFile() && !path.startsWith('.serve/')) files[path] = readFileSync(join(root, path), 'latin1');
  }
  return files;
}

function assertUnharmed(root: string): void {
  assert.deepEqual(stored(root), old);
  assert.deepEqual(readdirSync(dirname(root)).sort(), ['outside', 'web-1']);
  assert.equal(readFileSync(join(root, '..', 'outside'), 'utf8'), 'somebody else');
}

interface Door {
  readonly client: RawServeClient;
  /** Resolves with the error, or undefined, when the server has ended. */
  readonly ended: Promise<unknown>;
}

/** The door in this process. */
function open(
  root: string,
  options: Partial<ServeFolderOptions> = {},
  timeouts: ServeTimeouts = usualTimeouts,
): Door {
  const toServer = new PassThrough();
  const toClient = new PassThrough();
  const ended = serve(root, options, { input: toServer, output: toClient }, timeouts);
  return { client: new RawServeClient(toClient, toServer), ended };
}

/** Resolves with the error, or undefined, when the server has ended. */
function serve(
  root: string,
  options: Partial<ServeFolderOptions>,
  streams: { readonly input: Readable; readonly output: Writable },
  timeouts: ServeTimeouts = usualTimeouts,
): Promise<unknown> {
  return serveStorage({
    ...streams,
    open: (path) =>
      openServedFolder(
        { root, mode: 'append-only', connections: 4, largestObjectBytes: 10_000_000, ...options },
        path,
      ),
    timeouts,
    clock: systemClock,
    signal: new AbortController().signal,
  }).then(
    () => undefined,
    (error: unknown) => error,
  );
}

async function greeted(root: string, options: Partial<ServeFolderOptions> = {}): Promise<Door> {
  const door = open(root, options);
  door.client.send(hello());
  assert.equal((await door.client.next())?.type, 'welcome');
  return door;
}

test('nothing that is there is overwritten, removed, or read unless it is public', async (t) => {
  const root = prepare(t);
  const { client, ended } = await greeted(root);
  let id = 0;
  for (const name of Object.keys(old)) {
    client.send(upload(++id, name, Buffer.from('mine now')));
    assert.match((await client.last(id))!.type, /^(?:exists|error)$/, `create ${name}`);
    client.send(named('remove', ++id, name));
    assert.equal((await client.last(id))?.code, errorCodes.denied, `remove ${name}`);
    client.send(reading(++id, name));
    const isPublic = /SHA256SUMS|repository\.json|keeper/.test(name);
    const reply = await client.last(id);
    assert.equal(reply?.code, isPublic ? undefined : errorCodes.denied, `read ${name}`);
    client.send(named('stat', ++id, name));
    assert.equal((await client.last(id))?.type, 'object');
  }
  // There is no frame that renames, truncates, links or changes a mode.
  for (const squatted of [
    'keeper/00000002-20261124T112804Z.json',
    'packs/x',
    'snapshots/1/root.age',
    'index/a.age',
  ]) {
    client.send(upload(++id, squatted, Buffer.from('junk')));
    assert.equal((await client.last(id))?.code, errorCodes.denied, squatted);
  }
  client.end();
  assert.equal(await ended, undefined);
  assertUnharmed(root);
});

test('a pack that is not what its name says is refused', async (t) => {
  const root = prepare(t);
  const { client, ended } = await greeted(root);
  client.send(upload(1, packNameOf(Buffer.from('promised')), Buffer.from('sent')));
  assert.equal((await client.last(1))?.code, errorCodes.damaged);
  const sizes: [number, number][] = [
    [5, 4],
    [3, 4],
  ];
  let id = 1;
  for (const [announced] of sizes) {
    client.send(upload(++id, `a-${id}`, Buffer.from('four'), announced));
    assert.equal((await client.last(id))?.code, errorCodes.damaged);
  }
  client.send(
    frame('create', ++id, encodeCreate({ name: 'b', sizeBytes: undefined })),
    frame('data', id, Buffer.from('four')),
    frame('end', id, encodeEnd(5)),
  );
  assert.equal((await client.last(id))?.code, errorCodes.damaged);
  client.end();
  assert.equal(await ended, undefined);
  assertUnharmed(root);
});

test('objects of the format keep to its limits, archives to those of the server', async (t) => {
  const root = prepare(t);
  const { client, ended } = await greeted(root, { largestObjectBytes: 2 ** 40 });
  const announce = async (id: number, name: string, sizeBytes: number): Promise<number | undefined> => {
    client.send(frame('create', id, encodeCreate({ name, sizeBytes })), frame('abort', id));
    return (await client.last(id))?.code;
  };
  assert.equal(await announce(1, packNameOf(randomBytes(8)), 2 ** 27 + 1), errorCodes.tooLarge);
  assert.equal(await announce(2, `${snapshot}0/root.age`, 2 ** 40), errorCodes.denied);
  assert.equal(await announce(3, 'new.tar.zst.age', 2 ** 40 + 1), errorCodes.tooLarge);
  assert.equal(await announce(4, 'new.tar.zst.age', 2 ** 40), errorCodes.cancelled);
  client.end();
  await ended;
  assertUnharmed(root);
});

test('no name and no path leads out of the folder, or into what is hidden in it', async (t) => {
  const root = prepare(t);
  symlinkSync('..', join(root, 'packs', 'up'));
  symlinkSync('..', join(root, 'link'));
  const { client, ended } = await greeted(root);
  let id = 0;
  const names = [
    '../outside',
    '/etc/passwd',
    'a/../../outside',
    './outside',
    '.serve/usage',
    '.incoming/x',
    '',
    'a\0b',
    'a//b',
  ];
  for (const name of [
    ...names,
    'x'.repeat(256),
    '..',
    '%2e%2e/outside',
    '..\\outside',
    'packs/up/outside',
    'link/outside',
    'link/x',
  ]) {
    client.send(reading(++id, name));
    assert.match((await client.last(id))!.type, /^(?:error|absent)$/, `read ${name}`);
    client.send(named('stat', ++id, name));
    assert.match((await client.last(id))!.type, /^(?:error|absent)$/, `stat ${name}`);
    if (name.length > 200 || name.startsWith('%')) continue;
    client.send(upload(++id, name, Buffer.from('out')));
    assert.equal((await client.last(id))?.type, 'error', `create ${name}`);
    client.send(named('list', ++id, name === '' ? '..' : name));
    assert.match((await client.last(id))!.type, /^(?:error|done)$/, `list ${name}`);
  }
  client.end();
  assert.equal(await ended, undefined);
  for (const path of ['/..', '/packs', '/../web-2', '/link', '/.serve', '/a', '/packs/up/..']) {
    const door = open(root);
    door.client.send(hello(path));
    assert.equal((await door.client.next())?.code, errorCodes.denied, path);
    assert.ok((await door.ended) instanceof SalvageError);
    // A restorer may choose a folder, but none outside.
    if (!/link|\.\./.test(path)) continue;
    const restorer = open(root, { mode: 'read-only' });
    restorer.client.send(hello(path));
    assert.equal((await restorer.client.next())?.code, errorCodes.denied, path);
  }
  rmSync(join(root, 'packs', 'up'));
  rmSync(join(root, 'link'));
  assertUnharmed(root);
});

test('lengths, types and numbers that no client sends end the connection', async (t) => {
  const root = prepare(t);
  const huge = (type: number, length: number): Buffer => {
    const header = frame(type, 1);
    header.writeUInt32LE(length, 0);
    return header;
  };
  const number = Buffer.alloc(9, 0xff);
  number.writeUInt8(0x7f, 7);
  const attacks: [string, Buffer][] = [
    ['a frame of 4 GiB', huge(3, 0xffff_ffff)],
    ['a part of more than 256 KiB', huge(3, 262_145)],
    ['a stat of 64 KiB', huge(7, 65_536)],
    ['a type that is none', frame(0x63, 1)],
    ['a reply', frame(0x82, 1)],
    ['a second hello', frame('hello', 0, Buffer.from('/'))],
    ['bytes of no request', frame('data', 9, Buffer.from('x'))],
    ['the end of no request', frame('end', 1, encodeEnd(0))],
    [
      'an empty part',
      Buffer.concat([frame('create', 1, encodeCreate({ name: 'x', sizeBytes: 1 })), frame('data', 1)]),
    ],
    ['a size that no number holds', frame('create', 1, number)],
    ['a create that is cut off', frame('create', 1, Buffer.alloc(5))],
    ['a read that is cut off', frame('read', 1, Buffer.alloc(5))],
    ['request 0', named('stat', 0, 'x')],
    ['numbers that go down', Buffer.concat([named('stat', 5, 'x'), named('stat', 4, 'x')])],
    [
      'numbers that come again',
      Buffer.concat([upload(3, 'repository.json', Buffer.alloc(1)), named('stat', 3, 'x')]),
    ],
    ['bytes for what takes none', Buffer.concat([named('list', 1, ''), frame('data', 1, Buffer.from('x'))])],
    [
      'too many objects at a time',
      Buffer.concat(
        Array.from({ length: 9 }, (_, n) =>
          frame('create', n + 1, encodeCreate({ name: `a/${n}`, sizeBytes: 5 })),
        ),
      ),
    ],
  ];
  for (const [what, bytes] of attacks) {
    const { client, ended } = await greeted(root);
    client.send(bytes);
    let reply = await client.next();
    while (reply && reply.request !== 0) reply = await client.next();
    // Bytes for a request that has been answered in time are passed over; everything else is a violation.
    if (reply) assert.equal(reply.code, errorCodes.violation, what);
    client.end();
    const error = await ended;
    if (what !== 'bytes for what takes none') assert.ok(error instanceof SalvageError, what);
    assert.ok(error === undefined || error instanceof SalvageError, what);
  }
  for (const bytes of ['GET / HTTP/1.1\r\n\r\n', 'SSH-2.0-x\r\n', 'salvage-serve 9\n', '\0'.repeat(64)]) {
    const { client, ended } = open(root);
    client.send(Buffer.from(bytes));
    client.end();
    assert.ok((await ended) instanceof SalvageError);
  }
  assertUnharmed(root);
});

test('a client that asks without end and takes no answer is hung up on', async (t) => {
  const root = prepare(t);
  const toServer = new PassThrough();
  const toClient = new PassThrough();
  const serving = serveStorage({
    input: toServer,
    output: toClient,
    open: (path) => openServedFolder({ root, mode: 'append-only', connections: 1 }, path),
    clock: systemClock,
    signal: new AbortController().signal,
    timeouts: { ...usualTimeouts, frame: 300 },
  });
  toServer.write(hello());
  for (let id = 1; id < 1000; id++) toServer.write(named('stat', id, 'repository.json'));
  await assert.rejects(serving, /too many requests/);
  assert.ok(toClient.readableLength < 100_000);
  assertUnharmed(root);
});

test('a folder that cannot be served is the fault of the server, and is not passed over', async (t) => {
  const root = prepare(t);
  writeFileSync(join(root, '.serve'), 'in the way');
  const { client, ended } = open(root);
  client.send(hello());
  assert.match(String(await ended), /Cannot open the folder to serve: EEXIST/);
  rmSync(join(root, '.serve'));
  assertUnharmed(root);
});

test('a session that is cut off at any byte leaves nothing half', async (t) => {
  const root = prepare(t);
  const body = randomBytes(3000);
  const session = Buffer.concat([
    hello(),
    upload(1, 'new', body),
    named('list', 2, ''),
    reading(3, 'repository.json'),
  ]);
  for (
    let length = 0;
    length < session.length;
    length += length < 120 || length > session.length - 120 ? 1 : 97
  ) {
    const { client, ended } = open(root);
    client.send(session.subarray(0, length));
    client.end();
    const error = await ended;
    assert.ok(error === undefined || error instanceof SalvageError);
    const { new: created, ...rest } = stored(root);
    assert.deepEqual(rest, old, `cut off after ${length} bytes`);
    assert.ok(created === undefined || created === body.toString('latin1'));
    rmSync(join(root, 'new'), { force: true });
  }
});

test('fuzzed sessions', async (t) => {
  const root = prepare(t);
  const body = randomBytes(2000);
  const session = Buffer.concat([
    hello(),
    upload(1, 'archive-2', body),
    reading(2, 'repository.json'),
    named('list', 3, 'snapshots/'),
    named('remove', 4, 'repository.json'),
    frame('settle', 5),
    upload(6, packNameOf(body), body),
    frame('ping', 0),
  ]);
  const change = record({
    at: nat(session.length),
    bytes: oneof(uint8Array({ maxLength: 12 }), constant(new Uint8Array([255, 255, 255, 255]))),
    drop: nat(20),
  });
  await assertProperty(
    asyncProperty(change, change, async (first, second) => {
      let bytes: Buffer = session;
      for (const { at, bytes: inserted, drop } of [first, second])
        bytes = Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at + drop)]);
      const { client, ended } = open(root);
      client.send(bytes);
      client.end();
      const error = await ended;
      assert.ok(error === undefined || error instanceof SalvageError, String(error));
      const files = stored(root);
      for (const [name, content] of Object.entries(old)) assert.equal(files[name], content, name);
      for (const name of Object.keys(files)) {
        assert.doesNotMatch(name, /^\.incoming/);
        if (!(name in old)) rmSync(join(root, name));
      }
    }),
    { numRuns: 150 },
  );
  assertUnharmed(root);
});

test('a client that is slow, silent or does not listen is hung up on, and what it had begun is undone', async (t) => {
  const root = prepare(t);
  const soon: ServeTimeouts = { hello: 300, frame: 300, idle: 300 };
  const begun = [
    frame('create', 1, encodeCreate({ name: 'slow', sizeBytes: undefined })),
    frame('data', 1, randomBytes(9000)),
  ];
  const attacks: [string, Buffer[]][] = [
    ['says nothing', []],
    ['half a hello', [hello().subarray(0, 20)]],
    ['a hello without its folder', [hello().subarray(0, 26)]],
    ['then nothing', [hello()]],
    ['an object without an end', [hello(), ...begun]],
    ['a frame without an end', [hello(), ...begun, frame('data', 1, randomBytes(9000)).subarray(0, 8000)]],
  ];
  const hungUp = attacks.map(async ([what, parts]) => {
    const { client, ended } = open(root, { connections: attacks.length }, soon);
    client.send(...parts);
    const error = await ended;
    assert.ok(error instanceof SalvageError, what);
    assert.match(error.message, /in time/, what);
  });
  await Promise.all(hungUp);
  // One byte now and then does not help inside a frame.
  const { client, ended } = open(root, {}, { ...soon, idle: 10_000 });
  client.send(hello());
  const dripping = setInterval(() => client.send(bytes.subarray(sent, ++sent)), 5);
  const bytes = frame('data', 1, randomBytes(9000));
  let sent = 0;
  assert.ok((await ended) instanceof SalvageError);
  clearInterval(dripping);
  assert.ok(sent < bytes.length);
  assertUnharmed(root);
});

test('the quota holds for all connections together, and what does not fit is gone', async (t) => {
  const root = prepare(t);
  const quotaBytes = 200_000;
  const doors = await Promise.all([1, 2, 3].map(() => greeted(root, { quotaBytes })));
  const body = randomBytes(30_000);
  for (const [number, { client }] of doors.entries())
    for (let id = 1; id <= 6; id++) client.send(upload(id, `junk/${number}-${id}`, body));
  let created = 0;
  let refused = 0;
  for (const { client } of doors)
    for (let replies = 0; replies < 6; replies++) {
      const reply = await client.next();
      if (reply?.type === 'created') created++;
      else if (reply?.code === errorCodes.quota) refused++;
    }
  assert.equal(created + refused, 18);
  // 7 objects of little more than 4 KiB each are there already.
  assert.ok(created >= 1 && created <= Math.floor((quotaBytes - 7 * 4096) / 34_096), `${created} created`);
  // The fourth place is the last.
  const fourth = await greeted(root, { quotaBytes });
  const fifth = open(root, { quotaBytes });
  fifth.client.send(hello());
  assert.equal((await fifth.client.next())?.code, errorCodes.busy);
  fifth.client.end();
  for (const { client, ended } of [...doors, fourth]) {
    client.end();
    assert.equal(await ended, undefined);
  }
  assert.deepEqual(readdirSync(join(root, '.incoming')), []);
  assert.equal(readdirSync(join(root, 'junk')).length, created);
  // Room is counted anew when everybody has gone.
  rmSync(join(root, 'junk'), { recursive: true });
  const { client, ended } = await greeted(root, { quotaBytes });
  client.send(upload(1, 'junk/again', body));
  assert.equal((await client.last(1))?.type, 'created');
  client.send(upload(2, 'junk/large', randomBytes(300_000)));
  assert.equal((await client.last(2))?.code, errorCodes.quota);
  // Names alone fill the quota too.
  let id = 2;
  for (let type = 'created'; type === 'created';) {
    client.send(upload(++id, `empty/${id}`, Buffer.alloc(0)));
    ({ type } = (await client.last(id))!);
    assert.ok(id < 60);
  }
  client.end();
  await ended;
});

test('what was stored counts, also if the client does not listen to the reply', async (t) => {
  const root = prepare(t);
  const quotaBytes = 150_000;
  // As long as somebody is there nobody counts anew.
  const { client: witness, ended } = await greeted(root, { quotaBytes });
  for (let attempt = 1; attempt <= 6; attempt++) {
    const toServer = new PassThrough();
    const deaf = new Writable({
      write(chunk: Buffer, _, done) {
        const type = chunk.readUInt8(4);
        if (type === replyTypes.error) toServer.end();
        done(type === replyTypes.created ? new Error('the line is cut') : null);
      },
    });
    const serving = serve(root, { quotaBytes }, { input: toServer, output: deaf });
    toServer.write(Buffer.concat([hello(), upload(1, `junk/${attempt}`, randomBytes(30_000))]));
    await serving;
  }
  witness.end();
  await ended;
  assert.equal(readdirSync(join(root, 'junk')).length, 3);
});

test('the memory of the real server stays small, whatever is sent and not taken', async (t) => {
  const root = prepare(t);
  writeFileSync(join(root, 'repository.json'), randomBytes(20_000_000));
  const child = spawn(salvage, ['serve', '--stdio', '--root', root, '--append-only', '--max-object', '1G'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const exit = once(child, 'exit');
  const client = new RawServeClient(child.stdout, child.stdin);
  client.send(hello());
  assert.equal((await client.next())?.type, 'welcome');
  const peakBytes = (): number =>
    1024 * Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))![1]);
  const before = peakBytes();
  // Eight objects of 10 MB at a time, and eight readings that nobody takes.
  child.stdout.pause();
  const part = randomBytes(250_000);
  for (let id = 1; id <= 8; id++)
    await client.sendSlowly(frame('create', id, encodeCreate({ name: `big/${id}`, sizeBytes: undefined })));
  for (let id = 9; id <= 16; id++) await client.sendSlowly(reading(id, 'repository.json'));
  for (let count = 0; count < 40; count++)
    for (let id = 1; id <= 8; id++) await client.sendSlowly(frame('data', id, part));
  const grown = peakBytes() - before;
  child.stdout.resume();
  child.stdin.destroy();
  const [code] = (await exit) as [number];
  assert.equal(code, 0);
  t.diagnostic(`grown by ${Math.round(grown / 1e6)} MB from ${Math.round(before / 1e6)} MB`);
  assert.ok(grown < 150e6, `grown by ${grown} bytes`);
  assert.deepEqual(readdirSync(join(root, '.incoming')), []);
  assert.ok(!existsSync(join(root, 'big')));
});
