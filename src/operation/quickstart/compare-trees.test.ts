import assert from 'node:assert/strict';
import {
  chmodSync,
  cpSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { compareTrees } from './compare-trees.ts';

describe('compareTrees', () => {
  let folder: string;
  let original: string;
  let copy: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'salvage-compare-'));
    original = join(folder, 'original');
    copy = join(folder, 'copy');
    mkdirSync(join(original, 'a/deep'), { recursive: true });
    writeFileSync(join(original, 'a/deep/file'), 'content');
    writeFileSync(join(original, 'a.b'), 'sorts between a and a/deep for those who compare whole paths');
    writeFileSync(join(original, 'empty'), '');
    symlinkSync('nowhere', join(original, 'link'));
    linkSync(join(original, 'a.b'), join(original, 'second name'));
    assert.equal(spawnSync('cp', ['-a', original, copy]).status, 0);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const differences = (): string[] => {
    const { examples, differences } = compareTrees(original, copy, assert.ifError);
    assert.equal(differences, examples.length);
    return examples.map(({ path, what }) => `${path.toString()}: ${what}`);
  };

  test('equal trees', () => {
    const { compared, comparedBytes, differences } = compareTrees(original, copy, assert.ifError);
    assert.deepEqual([compared, differences], [8, 0]);
    assert.equal(comparedBytes, 7 + readFileSync(join(original, 'a.b')).length);
  });

  const changes: [name: string, change: () => void, expected: RegExp][] = [
    [
      'content of the same size',
      () => keepingTime('a/deep/file', () => writeFileSync(join(copy, 'a/deep/file'), 'CONTENT')),
      /^a\/deep\/file: has other content$/,
    ],
    [
      'size',
      () => keepingTime('a/deep/file', () => writeFileSync(join(copy, 'a/deep/file'), 'x')),
      /has 1 bytes in place of 7/,
    ],
    ['mode', () => chmodSync(join(copy, 'empty'), 0o600), /^empty: has mode 600 in place of 644$/],
    ['time', () => utimesSync(join(copy, 'empty'), 1, 1), /^empty: has another modification time$/],
    [
      'type',
      () => keepingTime('.', () => replaceByFile(join(copy, 'link'))),
      /^link: is a file in place of a symlink$/,
    ],
    [
      'missing',
      () => keepingTime('.', () => unlinkSync(join(copy, 'empty'))),
      /^empty: is missing in the copy$/,
    ],
    [
      'additional',
      () => keepingTime('a', () => writeFileSync(join(copy, 'a/more'), '')),
      /^a\/more: is only in the copy$/,
    ],
    [
      'unlinked',
      () => keepingTime('.', () => breakLink()),
      /^second name: is a file in place of a hardlink$/,
    ],
  ];
  const keepingTime = (path: string, change: () => void): void => {
    change();
    assert.equal(spawnSync('touch', ['-r', join(original, path), join(copy, path)]).status, 0);
  };
  const replaceByFile = (path: string): void => {
    unlinkSync(path);
    writeFileSync(path, '');
  };
  const breakLink = (): void => {
    const path = join(copy, 'second name');
    unlinkSync(path);
    cpSync(join(copy, 'a.b'), path, { preserveTimestamps: true });
  };
  for (const [name, change, expected] of changes)
    test(`a difference in ${name}`, () => {
      change();
      const found = differences();
      assert.equal(found.length, 1, found.join('\n'));
      assert.match(found[0]!, expected);
    });
});
