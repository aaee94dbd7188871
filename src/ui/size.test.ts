import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatRate, formatSize } from './size.ts';

test('sizes have at most three digits and a binary unit', () => {
  const table: [sizeBytes: number | bigint, text: string][] = [
    [0, '0 B'],
    [1, '1 B'],
    [999, '999 B'],
    [1000, '0.98 KiB'],
    [1024, '1.00 KiB'],
    [10_230, '9.99 KiB'],
    [10_240, '10.0 KiB'],
    [102_300, '99.9 KiB'],
    [102_400, '100 KiB'],
    [1024 * 999, '999 KiB'],
    [1024 * 1000, '0.98 MiB'],
    [1024 ** 2, '1.00 MiB'],
    [12.3 * 1024 ** 3, '12.3 GiB'],
    [2n ** 63n, '8.00 EiB'],
    [Number.MAX_SAFE_INTEGER, '8.00 PiB'],
  ];
  for (const [sizeBytes, text] of table) assert.equal(formatSize(sizeBytes), text);
  assert.equal(formatRate(1536.7), '1.50 KiB/s');
});
