import assert from 'node:assert/strict';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { SalvageError } from '../errors/salvage-error.ts';
import { ExcludeRules } from './exclude-rules.ts';
import type { SourceProblem } from './source-problem.ts';
import { planRoots } from './source-roots.ts';
import { Walk } from './walk.ts';
import type { WalkOptions } from './walk.ts';

const isRoot = process.getuid?.() === 0;

describe('Walk', () => {
  let folder = '';
  let problems: SourceProblem[] = [];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'salvage-walk-'));
    problems = [];
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function make(...paths: string[]): void {
    for (const path of paths) {
      const file = Buffer.from(join(folder, path), 'latin1');
      const slash = file.lastIndexOf('/');
      mkdirSync(file.subarray(0, slash), { recursive: true });
      if (slash !== file.length - 1) writeFileSync(file, path);
    }
  }

  function start(options: Partial<WalkOptions> = {}, ...roots: string[]): Walk {
    const paths = roots.length > 0 ? roots.map((root) => join(folder, root)) : [folder];
    return new Walk({ roots: planRoots(paths), onProblem: (problem) => problems.push(problem), ...options });
  }

  /** Paths below the test's folder, directories with a slash at their end. */
  function pathsOf(walk: Walk): string[] {
    const prefix = folder.slice(1);
    const found: string[] = [];
    while (walk.next()) {
      const path = walk.path.slice(prefix.length + 1) + (walk.type === 'directory' ? '/' : '');
      if (walk.path.startsWith(prefix)) found.push(path);
    }
    return found;
  }

  it('goes depth-first, names in byte order, a directory before its children', () => {
    make('a/z', 'a/b/c', 'a.txt', 'a-b', 'A', 'é', '\xff', 'ab', 'empty/');
    assert.deepEqual(pathsOf(start()), [
      '/',
      'A',
      'a/',
      'a/b/',
      'a/b/c',
      'a/z',
      'a-b',
      'a.txt',
      'ab',
      'empty/',
      'é',
      '\xff',
    ]);
    assert.deepEqual(problems, []);
  });

  it('gives several roots as one sorted walk, each once', () => {
    make('b/two', 'a/one', 'b/c/three');
    const walk = start({}, 'b', 'a/one', 'b/c');
    assert.deepEqual(pathsOf(walk), ['a/one', 'b/', 'b/c/', 'b/c/three', 'b/two']);
  });

  it('gives the directories on the way to the roots if asked', () => {
    make('a/b/c');
    const walk = start({ parents: true }, 'a/b/c');
    const parts = join(folder, 'a/b/c').slice(1).split('/');
    const expected = parts.map((_, index) => parts.slice(0, index + 1).join('/'));
    const found: string[] = [];
    while (walk.next()) found.push(walk.path);
    assert.deepEqual(found, expected);
  });

  it('names the first of several names of a file, and its later ones as hardlinks', () => {
    make('b');
    linkSync(join(folder, 'b'), join(folder, 'a'));
    linkSync(join(folder, 'b'), join(folder, 'c'));
    const walk = start();
    const found: string[] = [];
    while (walk.next())
      if (walk.type !== 'directory')
        found.push(`${walk.path.at(-1)} ${walk.type} ${walk.linkTarget?.at(-1) ?? ''}`);
    assert.deepEqual(found, ['a file ', 'b hardlink a', 'c hardlink a']);
  });

  it('does not follow symlinks, but a root with a slash at its end', () => {
    make('real/file');
    symlinkSync('real', join(folder, 'link'));
    assert.deepEqual(pathsOf(start({}, 'link')), ['link']);
    const followed = new Walk({
      roots: planRoots([`${folder}/link/`]),
      onProblem: (problem) => problems.push(problem),
    });
    assert.deepEqual(pathsOf(followed), ['link/', 'link/file']);
  });

  it('leaves out what is excluded and does not go into it', () => {
    make('keep/a', 'keep/b.o', 'cache/x', 'deep/cache/y', 'cache.txt');
    const excludes = new ExcludeRules(['*.o', 'cache/']);
    assert.deepEqual(pathsOf(start({ excludes })), ['/', 'cache.txt', 'deep/', 'keep/', 'keep/a']);
    assert.deepEqual(problems, []);
  });

  it('says so when a pattern hides a root', () => {
    make('cache/x');
    assert.deepEqual(pathsOf(start({ excludes: new ExcludeRules(['cache']) }, 'cache')), []);
    assert.deepEqual(
      problems.map(({ what }) => what),
      ['skipped'],
    );
  });

  it('keeps only the tag of a cache directory, if it is signed', () => {
    make('cache/x', 'cache/d/y', 'false/x', 'false/CACHEDIR.TAG');
    writeFileSync(join(folder, 'cache/CACHEDIR.TAG'), 'Signature: 8a477f597d28d172789f06886806bc55\n# x\n');
    assert.deepEqual(pathsOf(start({ excludeCaches: true })), [
      '/',
      'cache/',
      'cache/CACHEDIR.TAG',
      'false/',
      'false/CACHEDIR.TAG',
      'false/x',
    ]);
  });

  it('keeps only the named file where it is present', () => {
    make('a/.nobackup', 'a/x', 'b/x');
    const paths = pathsOf(start({ excludeIfPresent: ['.nobackup'] }));
    assert.deepEqual(paths, ['/', 'a/', 'a/.nobackup', 'b/', 'b/x']);
  });

  it('stays on one file system: a mount point is kept, empty', () => {
    const device = new Walk({ roots: planRoots(['/']), oneFileSystem: true, onProblem: () => undefined });
    const found: string[] = [];
    while (device.next()) {
      if (device.path === 'proc' || device.path.startsWith('proc/')) found.push(device.path);
      else if (device.path !== '.') device.skipDirectory();
    }
    assert.deepEqual(found, ['proc']);
  });

  it('goes into no directory that it is told to skip', () => {
    make('a/x', 'b/y');
    const walk = start();
    const below = `${folder.slice(1)}/`;
    const found: string[] = [];
    while (walk.next()) {
      if (walk.path.startsWith(below)) found.push(walk.path.slice(below.length));
      if (walk.path === `${below}a`) walk.skipDirectory();
    }
    assert.deepEqual(found, ['a', 'b', 'b/y']);
  });

  it('goes deeper than descriptors and paths reach, and comes back', () => {
    // Made from the inside: no path of the kernel's is long enough to name the lowest directory.
    const depth = 400;
    let tower = join(folder, 'tower');
    mkdirSync(tower);
    writeFileSync(join(tower, 'z'), '');
    for (let level = 1; level < depth; level++) {
      const around = join(folder, 'around');
      mkdirSync(around);
      renameSync(tower, join(around, 'directory-with-a-name'));
      writeFileSync(join(around, 'z'), '');
      tower = join(folder, 'tower');
      renameSync(around, tower);
    }
    let files = 0;
    let deepest = 0;
    const descriptors = readdirSync('/proc/self/fd').length;
    const walk = start();
    while (walk.next()) {
      deepest = Math.max(deepest, walk.path.length);
      if (walk.type === 'file') files++;
    }
    assert.equal(files, depth);
    assert.ok(deepest > 8000);
    assert.deepEqual(problems, []);
    assert.equal(readdirSync('/proc/self/fd').length, descriptors);
  });

  it('reports what vanishes and goes on', () => {
    make('a/x', 'b/y', 'c');
    const walk = start();
    const found: string[] = [];
    while (walk.next()) {
      found.push(walk.path.slice(folder.length));
      if (walk.path.endsWith('/a')) rmSync(join(folder, 'a'), { recursive: true });
      if (walk.path.endsWith('/b')) rmSync(join(folder, 'c'));
    }
    assert.deepEqual(
      problems.map(({ path, what }) => `${path.toString().slice(folder.length)} ${what}`),
      ['a vanished', 'c vanished'],
    );
    assert.ok(found.includes('b/y'));
  });

  it('reports a directory that it cannot read, and keeps it', () => {
    make('locked/x', 'open/y');
    chmodSync(folder, 0o755);
    chmodSync(join(folder, 'locked'), 0o000);
    if (isRoot) process.seteuid!(65_534);
    try {
      const walk = start();
      const found: string[] = [];
      while (walk.next()) found.push(walk.path.slice(folder.length));
      assert.ok(found.includes('locked') && found.includes('open/y'));
      assert.deepEqual(
        problems.map(({ path, what }) => `${path.toString().slice(folder.length)} ${what}`),
        ['locked unreadable'],
      );
    } finally {
      if (isRoot) process.seteuid!(0);
      chmodSync(join(folder, 'locked'), 0o700);
    }
  });

  it('refuses a root that does not exist', () => {
    assert.throws(
      () => start({}, 'nothing'),
      (error) =>
        error instanceof SalvageError && error.code === 'failed' && /no such file/.test(error.message),
    );
  });
});
