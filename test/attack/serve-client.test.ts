// A server that has fallen: a client asks, and whatever comes back, it gets an error or what it asked for, and no more.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import {
  encodeFrameHeader,
  FrameDecoder,
  preface,
  replyTypes,
  requestLimits,
  requestTypes,
  type Frame,
} from '../../src/storage/serve/frame.ts';
import { encodeError, encodeObject, encodeWelcome } from '../../src/storage/serve/messages.ts';
import { ServeClient, type ServeClientTimeouts } from '../../src/storage/ssh/serve-client.ts';
import { ServedStorage } from '../../src/storage/ssh/served-storage.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { findTransient } from '../../src/storage/transient-error.ts';

const welcome = encodeWelcome({
  exclusiveCreate: true,
  mayRemove: true,
  requests: 4,
  bodies: 2,
  largestObjectBytes: undefined,
});
const reply = (type: number, request: number, payload: Uint8Array = Buffer.alloc(0)): Buffer =>
  Buffer.concat([encodeFrameHeader(type, request, payload.length), payload]);
const object = (name: string, sizeBytes = 1): Buffer =>
  encodeObject({ name, sizeBytes, receivedAt: undefined });

/** A storage whose server answers each frame with what `answer` says; undefined: it hangs up. */
async function behind(
  answer: (frame: Frame) => Buffer | undefined,
  greeting?: Buffer,
  timeouts?: ServeClientTimeouts,
): Promise<ServedStorage> {
  return await ServedStorage.open('hostile', async () => {
    const toServer = new PassThrough();
    const toClient = new PassThrough();
    const decoder = new FrameDecoder(requestLimits);
    toServer.on('data', (chunk: Buffer) => {
      for (const frame of decoder.push(chunk)) {
        const bytes =
          frame.type === requestTypes.hello
            ? (greeting ?? Buffer.concat([preface, reply(replyTypes.welcome, 0, welcome)]))
            : answer(frame);
        if (bytes) toClient.write(bytes);
        else toClient.end();
      }
    });
    const channel = {
      input: toClient,
      output: toServer,
      onConnected: () => {},
      explainEnd: async () => await Promise.resolve(new Error('it hung up')),
      close: async () => {
        toServer.destroy();
        toClient.destroy();
        await Promise.resolve();
      },
    };
    return await ServeClient.connect(channel, '/', { timeouts });
  });
}

const isFailure = (error: unknown): boolean => error instanceof SalvageError && error.code === 'failed';
const listAll = async (storage: Storage): Promise<number> => {
  let count = 0;
  for await (const _ of storage.list('packs/')) count++;
  return count;
};

test('a greeting that is none', async () => {
  const greetings: [Buffer, RegExp][] = [
    [Buffer.from('Last login: Mon\n'), /not salvage: it says "Last login: Mon"/],
    [Buffer.concat([preface, reply(replyTypes.created, 0)]), /does not begin with a welcome/],
    [Buffer.concat([preface, reply(replyTypes.welcome, 0, Buffer.alloc(13))]), /makes no sense/],
    [Buffer.concat([preface, reply(replyTypes.welcome, 0, welcome.subarray(1))]), /another length/],
    [Buffer.concat([preface, reply(replyTypes.error, 0, encodeError(9, 'all in use'))]), /all in use/],
    [Buffer.concat([preface, encodeFrameHeader(replyTypes.part, 0, 0xffff_ffff)]), /the most allowed/],
  ];
  for (const [greeting, expected] of greetings)
    await assert.rejects(
      behind(() => undefined, greeting),
      (error) => isFailure(error) && expected.test((error as Error).message),
      String(expected),
    );
});

test('answers that do not fit the question', async () => {
  const answers: [string, (request: number) => Buffer | undefined][] = [
    ['hangs up', () => undefined],
    ['of another request', (request) => reply(replyTypes.done, request + 1)],
    ['a type that is none', (request) => reply(0x01, request)],
    [
      'a page nobody asked for',
      (request) => Buffer.concat([1, 2, 3].map(() => reply(replyTypes.page, request, object('packs/a')))),
    ],
    [
      'more bytes than were asked for',
      (request) => Buffer.concat([1, 2, 3].map(() => reply(replyTypes.part, request, Buffer.alloc(200_000)))),
    ],
    ['another object', (request) => reply(replyTypes.object, request, object('other'))],
    ['an object cut off', (request) => reply(replyTypes.object, request, object('packs/a').subarray(0, 9))],
    ['an error', (request) => reply(replyTypes.error, request, encodeError(777, 'because \x1b[31m'))],
    ['an error cut off', (request) => reply(replyTypes.error, request, Buffer.alloc(1))],
    ['the end of everything', () => reply(replyTypes.error, 0, encodeError(8, 'enough'))],
  ];
  for (const [what, answer] of answers) {
    const hostile = (frame: Frame): Buffer | undefined => answer(frame.request);
    const asks: ((storage: Storage) => Promise<unknown>)[] = [
      (storage) => storage.read('packs/a', { offset: 0, length: 300_000 }),
      (storage) => storage.stat('packs/a'),
      (storage) => storage.remove('packs/a'),
      (storage) => storage.create('packs/a', [Buffer.alloc(1000)]),
      async (storage) => {
        // Else there is nothing to settle.
        await storage.remove('packs/a').catch(() => {});
        await storage.settle();
      },
      listAll,
    ];
    for (const ask of asks) {
      const storage = await behind(hostile);
      await assert.rejects(ask(storage), isFailure, what);
      await storage.close();
    }
  }
});

test('listings that would make somebody believe in other objects', async () => {
  const pages: Buffer[] = [
    object('index/a'),
    object('packs/../../etc/passwd'),
    object('packs/a b'),
    Buffer.concat([object('packs/b'), object('packs/a')]),
    Buffer.concat([object('packs/a'), object('packs/a')]),
  ];
  for (const page of pages) {
    const storage = await behind(({ request }) =>
      Buffer.concat([reply(replyTypes.page, request, page), reply(replyTypes.done, request)]),
    );
    await assert.rejects(listAll(storage), isFailure);
    await storage.close();
  }
});

test('a whole object that never ends is given up at the size of the largest', async () => {
  const part = Buffer.alloc(256 * 1024);
  const storage = await behind(({ request, type }) =>
    type === requestTypes.read
      ? Buffer.concat(Array.from({ length: 520 }, () => reply(replyTypes.part, request, part)))
      : undefined,
  );
  await assert.rejects(storage.read('packs/a'), isFailure);
  await storage.close();
});

test('a server that answers pings is not given up, however long it needs for an answer', async () => {
  const timeouts = { pingMs: 10, deadMs: 1000 };
  let pings = 0;
  let asked = 0;
  const slow = ({ type, request }: Frame): Buffer => {
    if (type !== requestTypes.ping) {
      asked = request;
      return Buffer.alloc(0);
    }
    const pong = reply(replyTypes.pong, 0);
    // More than would have been borne without an answer.
    return ++pings === 110 ? Buffer.concat([pong, reply(replyTypes.absent, asked)]) : pong;
  };
  const storage = await behind(slow, undefined, timeouts);
  assert.equal(await storage.stat('packs/a'), undefined);
  await storage.close();
});

test('a server that falls silent is given up, and the next call connects anew', async () => {
  let answered = 0;
  const silent = (frame: Frame): Buffer => {
    answered += frame.type === requestTypes.stat ? 1 : 0;
    return answered > 1 ? reply(replyTypes.absent, frame.request) : Buffer.alloc(0);
  };
  const storage = await behind(silent, undefined, { pingMs: 50, deadMs: 1000 });
  await assert.rejects(
    storage.stat('packs/a'),
    (error) => findTransient(error) !== undefined && /no sign of life/.test((error as Error).message),
  );
  assert.equal(await storage.stat('packs/a'), undefined);
  await storage.close();
});
