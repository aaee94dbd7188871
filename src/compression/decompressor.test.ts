import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compressBlock, levels, type Compression } from './compression.ts';
import { startDecompressor } from './decompressor.ts';
import { recogniseFormat } from './recognise.ts';

const text = Buffer.from('some text that repeats itself, '.repeat(5000));

async function decompress(stream: Uint8Array, piece = stream.length): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  const decompressor = startDecompressor(recogniseFormat(stream), (bytes) => {
    parts.push(bytes);
  });
  try {
    for (let offset = 0; offset < stream.length; offset += piece) {
      await decompressor.write(stream.subarray(offset, offset + piece));
    }
    await decompressor.finish();
  } finally {
    decompressor.close();
  }
  return Buffer.concat(parts);
}

for (const kind of ['zstd', 'gzip', 'none'] as Compression[]) {
  test(`${kind}: blocks one after the other are one stream`, async () => {
    const blocks = [text, Buffer.alloc(0), Buffer.from('x'), text].map((block) =>
      compressBlock(kind, levels[kind].usual, block),
    );
    const stream = Buffer.concat(blocks);
    const expected = Buffer.concat([text, Buffer.from('x'), text]);
    assert.ok((await decompress(stream)).equals(expected));
    assert.ok((await decompress(stream, 977)).equals(expected));
  });
}

for (const kind of ['zstd', 'gzip'] as Compression[]) {
  test(`${kind}: a cut or changed stream is damaged, but what came before is handed over`, async () => {
    const stream = Buffer.concat([text, text].map((block) => compressBlock(kind, levels[kind].usual, block)));
    for (const cut of [stream.length - 1, stream.length - 9, Math.floor(stream.length * 0.75)]) {
      await assert.rejects(decompress(stream.subarray(0, cut), 100), { code: 'damaged' });
    }
    const head = compressBlock(kind, levels[kind].usual, text);
    const broken = Buffer.concat([head, Buffer.from(head).subarray(0, 12), Buffer.alloc(400, 0xff)]);
    let seen = 0;
    const decompressor = startDecompressor(kind, (bytes) => {
      seen += bytes.length;
    });
    await decompressor.write(broken.subarray(0, head.length));
    assert.equal(seen, text.length);
    await assert.rejects(
      async () => {
        await decompressor.write(broken.subarray(head.length));
        await decompressor.finish();
      },
      { code: 'damaged' },
    );
    decompressor.close();
  });
}

test('an error of the one who takes the output comes out', async () => {
  const decompressor = startDecompressor('zstd', () => {
    throw new Error('enough');
  });
  await assert.rejects(
    async () => {
      await decompressor.write(compressBlock('zstd', 2, text));
      await decompressor.finish();
    },
    { message: 'enough' },
  );
});

test('formats are known by their first bytes', () => {
  const heads: [string, string][] = [
    ['1f8b0800', 'gzip'],
    ['28b52ffd', 'zstd'],
    ['502a4d18', 'zstd'],
    ['fd377a585a00', 'xz'],
    ['425a6839', 'bzip2'],
    ['425a68', 'none'],
    ['', 'none'],
    ['7573746172', 'none'],
  ];
  for (const [hex, format] of heads) assert.equal(recogniseFormat(Buffer.from(hex, 'hex')), format);
});
