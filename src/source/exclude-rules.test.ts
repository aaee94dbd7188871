import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ExcludeRules } from './exclude-rules.ts';

describe('ExcludeRules', () => {
  const cases: [patterns: string[], path: string, isDirectory: boolean, excluded: boolean][] = [
    [['*.o'], 'a/b/c.o', false, true],
    [['*.o'], 'a/b/c.O', false, false],
    [['cache/'], 'home/cache', true, true],
    [['cache/'], 'home/cache', false, false],
    [['/etc/ssl'], 'etc/ssl', true, true],
    [['/etc/ssl'], 'home/etc/ssl', true, false],
    [['home/*/tmp'], 'home/ann/tmp', true, true],
    [['home/*/tmp'], 'srv/home/ann/tmp', true, false],
    [['**/node_modules'], 'a/b/node_modules', true, true],
    [['*.log', '!keep.log'], 'var/keep.log', false, false],
    [['*.log', '!keep.log'], 'var/other.log', false, true],
    [['# a comment', ''], '# a comment', false, false],
    [['\\#name'], '#name', false, true],
    [['caf?'], Buffer.from('café').toString('latin1'), false, true],
    [['a*'], 'a\xff\xfe', false, true],
    [['b*'], 'a\xff\xfe', false, false],
    [['*'], '..hidden', false, true],
    [['x'], 'a\nb', false, false],
  ];
  for (const [patterns, path, isDirectory, excluded] of cases)
    it(`${JSON.stringify(patterns)} ${excluded ? 'leave out' : 'keep'} ${JSON.stringify(path)}${isDirectory ? '/' : ''}`, () => {
      assert.equal(new ExcludeRules(patterns).excludes(path, isDirectory), excluded);
    });

  it('answers the same however often it is asked', () => {
    const rules = new ExcludeRules(['*.o']);
    for (let index = 0; index < 45_000; index++)
      assert.equal(rules.excludes(`d/${index}${index % 2 ? '.o' : ''}`, false), index % 2 === 1);
  });
});
