import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDuration } from './duration.ts';

test('durations have the two units that matter', () => {
  const table: [durationMs: number, text: string][] = [
    [-5, '0.0 s'],
    [0, '0.0 s'],
    [420, '0.4 s'],
    [9_949, '9.9 s'],
    [9_950, '10 s'],
    [59_499, '59 s'],
    [59_500, '1 min 00 s'],
    [185_000, '3 min 05 s'],
    [3_599_499, '59 min 59 s'],
    [3_600_000, '1 h 00 min'],
    [7_620_000, '2 h 07 min'],
    [172_800_000, '2 d 0 h'],
    [442_800_000, '5 d 3 h'],
  ];
  for (const [durationMs, text] of table) assert.equal(formatDuration(durationMs), text);
});
