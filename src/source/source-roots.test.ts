import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SalvageError } from '../errors/salvage-error.ts';
import { planRoots } from './source-roots.ts';
import type { RootNode } from './source-roots.ts';

function rootsOf(node: RootNode, prefix = ''): string[] {
  const here = node.isRoot ? [`${prefix || '.'} = ${node.realPath}${node.follow ? ' (followed)' : ''}`] : [];
  const below = [...node.children.values()].flatMap((child) =>
    rootsOf(child, prefix === '' ? child.name : `${prefix}/${child.name}`),
  );
  return [...here, ...below];
}

describe('planRoots', () => {
  const planned: [what: string, paths: string[], roots: string[]][] = [
    ['takes the leading slash off', ['/etc/ssl'], ['etc/ssl = /etc/ssl']],
    ['keeps relative paths as they are given', ['a/b'], ['a/b = a/b']],
    ['normalises', ['.//a/./b'], ['a/b = a/b']],
    ['follows a root that ends in a slash', ['/var/run/'], ['var/run = /var/run (followed)']],
    ['has the top itself for / and .', ['/'], ['. = / (followed)']],
    ['takes what is given twice once', ['/a', '/a', '//a'], ['a = /a']],
    ['keeps roots inside roots below them', ['/a/b', '/a'], ['a = /a', 'a/b = /a/b']],
    ['takes several', ['/b', '/a/x'], ['b = /b', 'a/x = /a/x']],
    ['takes absolute and relative ones that do not meet', ['/b/x', 'b/y'], ['b/x = /b/x', 'b/y = b/y']],
  ];
  for (const [what, paths, roots] of planned)
    it(what, () => {
      assert.deepEqual(rootsOf(planRoots(paths)), roots);
    });

  const refused: [what: string, paths: (string | Buffer)[]][] = [
    ['nothing', []],
    ['an empty path', ['']],
    ['..', ['../a']],
    ['.. inside', ['/a/../b']],
    ['a NUL', ['a\0b']],
    ['two places under one stored path', ['/etc', 'etc']],
    ['a relative root inside an absolute one', ['/etc', 'etc/ssl']],
    ['an absolute root inside a relative one', ['etc', '/etc/ssl']],
    ['here and the root directory at once', ['.', '/etc']],
  ];
  for (const [what, paths] of refused)
    it(`refuses ${what}`, () => {
      assert.throws(
        () => planRoots(paths),
        (error) => error instanceof SalvageError && error.code === 'usage',
      );
    });

  it('keeps bytes that are not UTF-8', () => {
    const plan = planRoots([Buffer.from('/a/\xff', 'latin1')]);
    assert.deepEqual(rootsOf(plan), ['a/\xff = /a/\xff']);
  });
});
