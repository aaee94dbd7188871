import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  array,
  assert as assertProperty,
  constantFrom,
  nat,
  property,
  record,
  tuple,
  uint8Array,
} from 'fast-check';
import {
  encodeFrameHeader,
  FrameDecoder,
  frameHeaderBytes,
  NotThisProtocol,
  preface,
  ProtocolViolation,
  requestLimits,
  requestTypes,
  type Frame,
} from './frame.ts';
import {
  decodeCreate,
  decodeEnd,
  decodeError,
  decodeObjects,
  decodeRead,
  decodeWelcome,
  encodeCreate,
  encodeEnd,
  encodeError,
  encodeObject,
  encodeRead,
  encodeWelcome,
} from './messages.ts';

const encode = (type: number, request: number, payload: Uint8Array): Buffer =>
  Buffer.concat([encodeFrameHeader(type, request, payload.length), payload]);

function decodeAll(chunks: Iterable<Uint8Array>): Frame[] {
  const decoder = new FrameDecoder(requestLimits);
  const frames: Frame[] = [];
  for (const chunk of chunks) frames.push(...decoder.push(chunk));
  assert.ok(!decoder.isInside);
  return frames;
}

test('frames come out as they went in, however they are cut', () => {
  const frame = record(
    {
      type: constantFrom(requestTypes.data, requestTypes.abort, requestTypes.stat),
      request: nat(2 ** 32 - 1),
      payload: uint8Array({ maxLength: 200 }),
    },
    { noNullPrototype: true },
  ).map((each) => (each.type === requestTypes.abort ? { ...each, payload: new Uint8Array(0) } : each));
  assertProperty(
    property(tuple(array(frame), nat(50)), ([frames, step]) => {
      const bytes = Buffer.concat([
        preface,
        ...frames.map((each) => encode(each.type, each.request, each.payload)),
      ]);
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < bytes.length; at += step + 1) chunks.push(bytes.subarray(at, at + step + 1));
      assert.deepEqual(
        decodeAll(chunks).map(({ type, request, payload }) => ({
          type,
          request,
          payload: new Uint8Array(payload),
        })),
        frames,
      );
    }),
  );
});

test('a header that is not allowed is refused before anything of its payload is there', () => {
  for (const [type, length] of [
    [requestTypes.data, 256 * 1024 + 1],
    [requestTypes.data, 0xffff_ffff],
    [requestTypes.ping, 1],
    [requestTypes.stat, 257],
    [0, 0],
    [0x8a, 0],
    [255, 5],
  ] as const)
    assert.throws(
      () => decodeAll([preface, encodeFrameHeader(type, 1, length)]),
      ProtocolViolation,
      `${type} ${length}`,
    );
  assert.equal(decodeAll([preface, encode(requestTypes.data, 1, new Uint8Array(256 * 1024))]).length, 1);
  assert.equal(preface.length, 16);
  assert.equal(encodeFrameHeader(1, 1, 1).length, frameHeaderBytes);
});

test('another protocol is recognised by its first wrong byte, and quoted', () => {
  for (const said of ['Welcome to Debian', 'salvage-serve 2\n', 's\x1b[31mecret', '\0\0'])
    assert.throws(
      () => decodeAll([Buffer.from(said).subarray(0, 1), Buffer.from(said).subarray(1)]),
      (error) =>
        error instanceof NotThisProtocol &&
        /^[\x20-\x7e]*$/.test(error.said) &&
        said.startsWith(error.said.slice(0, 1)),
      said,
    );
});

test('messages say what was meant', () => {
  for (const sizeBytes of [0, 1, Number.MAX_SAFE_INTEGER, undefined]) {
    assert.deepEqual(decodeCreate(encodeCreate({ name: 'packs/x', sizeBytes })), {
      name: 'packs/x',
      sizeBytes,
    });
    const read = { name: 'a', offset: sizeBytes ?? 7, length: sizeBytes };
    assert.deepEqual(decodeRead(encodeRead(read)), read);
    const welcome = {
      exclusiveCreate: true,
      mayRemove: false,
      requests: 3,
      bodies: 2,
      largestObjectBytes: sizeBytes,
    };
    assert.deepEqual(decodeWelcome(encodeWelcome(welcome)), welcome);
  }
  assert.equal(decodeEnd(encodeEnd(5)), 5);
  const objects = [
    { name: 'a/b', sizeBytes: 5, receivedAt: new Date(1_795_000_000_123) },
    { name: 'c', sizeBytes: 0, receivedAt: undefined },
  ];
  assert.deepEqual(decodeObjects(Buffer.concat(objects.map(encodeObject))), objects);
  const { code, message } = decodeError(encodeError(3, 'the quota\x1b[2J'));
  assert.deepEqual([code, message], [3, 'the quota [2J']);
  assert.equal(encodeError(1, 'ä'.repeat(5000)).length, 1026);
});

test('messages that are cut off, or hold impossible numbers, are refused', () => {
  const object = encodeObject({ name: 'name', sizeBytes: 5, receivedAt: undefined });
  for (let length = 1; length < object.length; length++)
    assert.throws(() => decodeObjects(object.subarray(0, length)), ProtocolViolation);
  const large = Buffer.alloc(30, 0xfe);
  for (const decode of [decodeCreate, decodeRead, decodeEnd, decodeWelcome, decodeObjects])
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.alloc(7),
      large,
      large.subarray(0, 8),
      large.subarray(0, 13),
    ]) {
      if (decode === decodeObjects && bytes.length === 0) continue;
      assert.throws(() => decode(bytes), ProtocolViolation);
    }
  assert.throws(() => decodeError(Buffer.alloc(1)), ProtocolViolation);
});
