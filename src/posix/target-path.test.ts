import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SalvageError } from '../errors/salvage-error.ts';
import { checkTargetPath, showPath } from './target-path.ts';

describe('checkTargetPath', () => {
  const good: [string, number][] = [
    ['a', -1],
    ['a/b', 1],
    ['..a', -1],
    ['a../.b', 3],
    ['...', -1],
    ['n'.repeat(255), -1],
    [`${'n'.repeat(255)}/b`, 255],
    ['\xff/\n', 1],
  ];
  for (const [path, slash] of good)
    it(`takes ${JSON.stringify(path).slice(0, 30)}`, () => {
      assert.equal(checkTargetPath(Buffer.from(path, 'latin1')), slash);
    });

  for (const path of [
    '',
    '/',
    '/a',
    'a/',
    'a//b',
    '.',
    '..',
    'a/.',
    './a',
    'a/../b',
    '../a',
    'a\0',
    'n'.repeat(256),
  ])
    it(`refuses ${JSON.stringify(path).slice(0, 30)}`, () => {
      assert.throws(
        () => checkTargetPath(Buffer.from(path, 'latin1')),
        (error) => error instanceof SalvageError && error.code === 'damaged',
      );
    });

  it('cuts a very long path for its message', () => {
    assert.equal(showPath(Buffer.alloc(70_000, 'a')).length, 1001);
  });
});
