import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { encodePacket, PacketReader, PacketSplitter, SftpProtocolError } from './sftp-packet.ts';

test('packets come back from any pieces, field by field', () => {
  const packet = fc.record({
    type: fc.nat(255),
    id: fc.nat(0xffff_ffff),
    number: fc.nat(0xffff_ffff),
    large: fc.bigInt(0n, 2n ** 53n - 1n),
    bytes: fc.uint8Array({ maxLength: 500 }),
  });
  fc.assert(
    fc.property(
      fc.array(packet, { maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 40 })),
      (packets, cuts) => {
        const line = Buffer.concat(
          packets.map(({ type, id, number, large, bytes }) => encodePacket(type, id, [number, large, bytes])),
        );
        const splitter = new PacketSplitter();
        const found: Buffer[] = [];
        for (let at = 0, cut = 0; at < line.length; cut++) {
          const length = cuts[cut] ?? line.length;
          found.push(...splitter.push(line.subarray(at, at + length)));
          at += length;
        }
        assert.equal(found.length, packets.length);
        for (const [index, { type, id, number, large, bytes }] of packets.entries()) {
          const fields = new PacketReader(found[index]!);
          assert.equal(fields.byte(), type);
          assert.equal(fields.uint32(), id);
          assert.equal(fields.uint32(), number);
          assert.equal(fields.uint64(), Number(large));
          assert.deepEqual(new Uint8Array(fields.bytes()), bytes);
          assert.ok(fields.isAtEnd);
        }
      },
    ),
  );
});

test('lengths that cannot be are refused before anything is allocated', () => {
  for (const length of [0, 4, 256 * 1024 + 1, 0x7fff_ffff, 0xffff_ffff]) {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(length);
    assert.throws(() => [...new PacketSplitter().push(head)], SftpProtocolError);
  }
});

test('a field that is longer than its packet is refused', () => {
  const packet = encodePacket(101, 1, ['text']).subarray(4);
  for (let length = 0; length < packet.length; length++)
    assert.throws(() => {
      const fields = new PacketReader(packet.subarray(0, length));
      fields.byte();
      fields.uint32();
      fields.bytes();
    }, SftpProtocolError);
  assert.throws(
    () => new PacketReader(Buffer.from('80000000ffffffff', 'hex')).attributes(),
    SftpProtocolError,
  );
});
