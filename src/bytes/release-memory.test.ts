import assert from 'node:assert/strict';
import { createCipheriv } from 'node:crypto';
import { test } from 'node:test';
import { releaseMemory } from './release-memory.ts';

test('memory of its own is given back, whatever its size', () => {
  const cipher = createCipheriv('chacha20-poly1305', new Uint8Array(32), new Uint8Array(12), {
    authTagLength: 16,
  });
  const large = [
    cipher.update(new Uint8Array(64 * 1024)),
    Buffer.allocUnsafeSlow(64 * 1024),
    Buffer.allocUnsafe(Buffer.poolSize / 2),
    // What zlib makes: a little of a large buffer.
    Buffer.allocUnsafe(1 << 20).subarray(0, 10),
  ];
  for (const bytes of large) {
    releaseMemory(bytes);
    assert.equal(bytes.buffer.byteLength, 0);
  }
});

test("nothing of Node's pool is taken away", () => {
  const others = Buffer.from('others look at this memory');
  for (const bytes of [
    Buffer.allocUnsafe(100),
    Buffer.allocUnsafe(Buffer.poolSize / 2 - 1),
    Buffer.from('x'),
  ]) {
    releaseMemory(bytes);
    assert.notEqual(bytes.buffer.byteLength, 0);
  }
  assert.equal(others.toString(), 'others look at this memory');
});
