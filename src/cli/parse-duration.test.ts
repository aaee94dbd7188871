import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDuration } from './parse-duration.ts';

test('durations are numbers with units', () => {
  const hour = 3_600_000;
  assert.equal(parseDuration('0s', '--grace'), 0);
  assert.equal(parseDuration('90min', '--grace'), 1.5 * hour);
  assert.equal(parseDuration('24h', '--grace'), 24 * hour);
  assert.equal(parseDuration('1w2d', '--grace'), 9 * 24 * hour);
  assert.equal(parseDuration('1y6m', '--grace'), (366 + 6 * 31) * 24 * hour);
  for (const wrong of ['', '7', 'd', '-1d', '1.5h', '7 d', '7dx', 'x7d', '12345678h'])
    assert.throws(() => parseDuration(wrong, '--grace'), /it is not a duration/, wrong);
});
