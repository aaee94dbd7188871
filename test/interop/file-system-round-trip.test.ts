import assert from 'node:assert/strict';
import {
  mkdtempSync,
  rmSync,
  utimesSync,
  writeFileSync,
  chmodSync,
  rmdirSync,
  mkdirSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { compareTrees } from '../support/compare-trees.ts';
import { copyTree } from '../support/copy-tree.ts';
import { makeTree } from '../support/make-tree.ts';
import { needsPeers } from '../support/peers.ts';

describe('a tree with one of everything, walked and written again', needsPeers, () => {
  let folder = '';
  let source = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'salvage-round-trip-'));
    source = join(folder, 'source');
    makeTree(source);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('is the same for rsync and find', () => {
    const target = join(folder, 'same');
    const { outcomes, problems } = copyTree(source, target);
    assert.deepEqual(problems, []);
    assert.equal(outcomes.kept, 1, 'the top alone was there');
    assert.deepEqual(compareTrees(source, target), []);
  });

  it('is left as it is by a second run, and by one that replaces everything', () => {
    const target = join(folder, 'again');
    copyTree(source, target);
    const kept = copyTree(source, target, { target: { overwrite: 'if-different' } });
    assert.deepEqual(kept.problems, []);
    assert.equal(kept.outcomes.made + kept.outcomes.replaced, 0);
    assert.deepEqual(compareTrees(source, target), []);
    assert.deepEqual(copyTree(source, target, { target: { overwrite: 'always' } }).problems, []);
    assert.deepEqual(compareTrees(source, target), []);
  });

  it('is mended where it differs', () => {
    const target = join(folder, 'mended');
    copyTree(source, target);
    writeFileSync(join(target, 'plain/file'), 'other');
    utimesSync(join(target, 'plain/empty'), 1, 1);
    chmodSync(join(target, 'plain/random'), 0o777);
    unlinkSync(join(target, 'links/up'));
    symlinkSync('elsewhere', join(target, 'links/up'));
    rmdirSync(join(target, 'plain/empty-directory'));
    writeFileSync(join(target, 'plain/empty-directory'), 'a file in its place');
    unlinkSync(join(target, 'special/fifo'));
    mkdirSync(join(target, 'special/fifo'));
    assert.deepEqual(copyTree(source, target, { target: { overwrite: 'if-different' } }).problems, []);
    assert.deepEqual(compareTrees(source, target), []);
  });
});
