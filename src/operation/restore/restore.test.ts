import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { compareTrees } from '../../../test/support/compare-trees.ts';
import { CountingStorage } from '../../../test/support/counting-storage.ts';
import {
  entriesOf,
  HandMadeRepository,
  type HandMadeSnapshot,
} from '../../../test/support/hand-made-repository.ts';
import { makeTree } from '../../../test/support/make-tree.ts';
import { openHandMade, restoreHandMade } from '../../../test/support/restore-hand-made.ts';
import { packName } from '../../repository/layout.ts';
import { LocalStorage } from '../../storage/local/local-storage.ts';
import { MemoryStorage } from '../../storage/memory/memory-storage.ts';
import type { Storage } from '../../storage/storage.ts';
import { listSnapshots, selectSnapshot } from '../open-repository.ts';
import { readContent } from '../browse/read-content.ts';
import { deleteOthers } from './delete-others.ts';
import { previewRestore } from './preview.ts';
import { Selection } from './selection.ts';

/** `t` is a test, or the suite. */
function temporaryFolder(t: { readonly after: (work: () => void) => void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-restore-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

describe('restore', () => {
  const storages: readonly (readonly [string, (folder: string) => Storage])[] = [
    ['a local folder', (folder) => new LocalStorage(join(folder, 'repository'))],
    ['a remote storage', () => new MemoryStorage()],
  ];
  for (const [name, makeStorage] of storages)
    it(`brings back everything from ${name}`, async (t) => {
      const folder = temporaryFolder(t);
      const tree = join(folder, 'tree');
      makeTree(tree);
      const repository = await HandMadeRepository.create(makeStorage(folder));
      const { id } = await repository.snapshot(entriesOf(tree));
      const target = join(folder, 'target');
      const { summary, lost, problems, damage } = await restoreHandMade(repository, id, {
        target,
        check: true,
      });
      assert.deepEqual({ lost, problems, damage }, { lost: [], problems: [], damage: [] });
      assert.deepEqual(compareTrees(tree, target, { ignoreTop: true }), []);
      assert.equal(summary.kept, 0);
    });
});

describe('restore of a small tree', () => {
  let repository: HandMadeRepository;
  let snapshot: HandMadeSnapshot;
  const folder = temporaryFolder({ after });
  const tree = join(folder, 'tree');
  before(() => {
    mkdirSync(join(tree, 'a', 'deep'), { recursive: true });
    writeFileSync(join(tree, 'a', 'one'), 'one');
    writeFileSync(join(tree, 'a', 'deep', 'two'), 'two');
    writeFileSync(join(tree, 'big'), randomBytes(3_000_000));
    writeFileSync(join(tree, 'c.txt'), 'text');
    utimesSync(join(tree, 'c.txt'), 1_100_000_000, 1_100_000_000);
    symlinkSync('one', join(tree, 'a', 'link'));
    utimesSync(join(tree, 'a', 'deep'), 1000, 1000);
    utimesSync(join(tree, 'a'), 2000, 2000);
  });
  before(async () => {
    repository = await HandMadeRepository.create(new LocalStorage(join(folder, 'repository')));
    snapshot = await repository.snapshot(entriesOf(tree));
  });

  it('restores nothing again that is there already, and what an interruption left half done', async (t) => {
    const target = join(temporaryFolder(t), 'target');
    await restoreHandMade(repository, snapshot.id, { target });
    const again = await restoreHandMade(repository, snapshot.id, { target });
    assert.deepEqual([again.summary.files, again.summary.bytes, again.summary.kept], [0, 0, 5]);
    // As a killed run leaves a file: begun, with the mark of one that is not complete.
    truncateSync(join(target, 'big'), 1_000_000);
    chmodSync(join(target, 'big'), 0o1600);
    const third = await restoreHandMade(repository, snapshot.id, { target });
    assert.deepEqual([third.summary.files, third.summary.kept], [1, 4]);
    assert.deepEqual(compareTrees(tree, target, { ignoreTop: true }), []);
  });

  it('fetches no content for a file that is right', async (t) => {
    const target = join(temporaryFolder(t), 'target');
    const storage = new CountingStorage(repository.storage);
    await restoreHandMade(repository, snapshot.id, { target });
    await restoreHandMade(repository, snapshot.id, { target, storage });
    const content = snapshot.contentPacks.map((pack) => packName(pack));
    assert.deepEqual(
      storage.requests.filter((request) => content.some((name) => request.includes(name))),
      [],
    );
  });

  const old = new Date('2001-01-01');
  const young = new Date('2031-01-01');
  const policies = [
    ['never', old, 'mine'],
    ['never', young, 'mine'],
    ['if-newer', old, 'text'],
    ['if-newer', young, 'mine'],
    ['if-different', old, 'text'],
    ['if-different', young, 'text'],
    ['always', young, 'text'],
  ] as const;
  for (const [overwrite, time, expected] of policies)
    it(`--overwrite ${overwrite} leaves "${expected}" of a file of ${time.getFullYear()}`, async (t) => {
      const target = temporaryFolder(t);
      writeFileSync(join(target, 'c.txt'), 'mine');
      utimesSync(join(target, 'c.txt'), time, time);
      const { lost } = await restoreHandMade(repository, snapshot.id, { target, overwrite });
      assert.deepEqual(lost, []);
      assert.equal(readFileSync(join(target, 'c.txt'), 'utf8'), expected);
    });

  it('--overwrite always writes what looks right as well', async (t) => {
    const target = temporaryFolder(t);
    await restoreHandMade(repository, snapshot.id, { target });
    const { mtime } = statSync(join(target, 'c.txt'));
    writeFileSync(join(target, 'c.txt'), 'fake');
    utimesSync(join(target, 'c.txt'), mtime, mtime);
    await restoreHandMade(repository, snapshot.id, { target, overwrite: 'always' });
    assert.equal(readFileSync(join(target, 'c.txt'), 'utf8'), 'text');
  });

  it('restores a path, without parts at its front', async (t) => {
    const target = temporaryFolder(t);
    const selection = new Selection({ paths: ['/a/deep/'], stripComponents: 1 });
    const { summary } = await restoreHandMade(repository, snapshot.id, { target, selection });
    assert.deepEqual(namesBelow(target), ['deep', 'deep/two']);
    assert.equal(statSync(join(target, 'deep')).mtimeMs, 1_000_000);
    assert.deepEqual([summary.files, summary.directories], [1, 1]);
  });

  it('restores what is included and not excluded', async (t) => {
    const target = temporaryFolder(t);
    const selection = new Selection({ include: ['/a', '*.txt'], exclude: ['one'] });
    await restoreHandMade(repository, snapshot.id, { target, selection });
    const found = namesBelow(target);
    assert.deepEqual(found, ['a', 'a/deep', 'a/deep/two', 'a/link', 'c.txt']);
  });

  it('deletes only what is not in the snapshot, not excluded, and within the paths', async (t) => {
    const target = temporaryFolder(t);
    await restoreHandMade(repository, snapshot.id, { target });
    mkdirSync(join(target, 'a', 'extra', 'below'), { recursive: true });
    writeFileSync(join(target, 'a', 'extra', 'below', 'file'), 'x');
    symlinkSync('/', join(target, 'a', 'to-root'));
    writeFileSync(join(target, 'a', 'keep.log'), 'x');
    writeFileSync(join(target, 'outside'), 'x');
    utimesSync(join(target, 'a'), 2000, 2000);
    const opened = await openHandMade(repository, snapshot.id);
    const selection = new Selection({ paths: ['a'], exclude: ['*.log'] });
    const named: string[] = [];
    const say = async (path: Buffer): Promise<void> => void named.push(path.toString());
    const dry = await deleteOthers(opened.snapshot, { target, selection, dryRun: true }, say);
    assert.ok(existsSync(join(target, 'a', 'to-root')));
    const deleted = await deleteOthers(opened.snapshot, { target, selection, dryRun: false }, say);
    const expected = ['a/extra/below/file', 'a/extra/below', 'a/extra', 'a/to-root'];
    assert.deepEqual([dry, deleted, named], [4, 4, [...expected, ...expected]]);
    const left = namesBelow(target);
    assert.deepEqual(left, [
      'a',
      'a/deep',
      'a/deep/two',
      'a/keep.log',
      'a/link',
      'a/one',
      'big',
      'c.txt',
      'outside',
    ]);
    assert.equal(statSync(join(target, 'a')).mtimeMs, 2_000_000);
  });

  it('says what it would do and does nothing', async (t) => {
    const target = join(temporaryFolder(t), 'target');
    const opened = await openHandMade(repository, snapshot.id);
    const options = { target, selection: new Selection({}), overwrite: 'if-different' as const };
    const nothing = async (): Promise<void> => {};
    const summary = await previewRestore(opened.snapshot, options, nothing);
    assert.deepEqual([summary.made, summary.replaced, summary.kept, summary.bytes], [7, 0, 0, 3_000_010]);
    assert.ok(!existsSync(target));
    await restoreHandMade(repository, snapshot.id, { target });
    assert.equal((await previewRestore(opened.snapshot, options, nothing)).kept, 7);
  });

  it('finds with --verify what was changed behind its back', async (t) => {
    const target = temporaryFolder(t);
    await restoreHandMade(repository, snapshot.id, { target });
    const { mtime } = statSync(join(target, 'c.txt'));
    writeFileSync(join(target, 'c.txt'), 'tExt');
    utimesSync(join(target, 'c.txt'), mtime, mtime);
    const { lost, summary } = await restoreHandMade(repository, snapshot.id, { target, check: true });
    assert.deepEqual(lost, [
      'Cannot trust the restored file "c.txt": from byte 0 on it does not hold what was written',
    ]);
    assert.equal(summary.checked, 3);
  });

  it('never leaves the target by a symlink that is there already', async (t) => {
    const outside = temporaryFolder(t);
    const target = temporaryFolder(t);
    symlinkSync(outside, join(target, 'a'));
    const { lost } = await restoreHandMade(repository, snapshot.id, { target, overwrite: 'never' });
    assert.deepEqual(readdirSync(outside), []);
    assert.ok(lost.length > 0);
    await restoreHandMade(repository, snapshot.id, { target });
    assert.deepEqual(readdirSync(outside), []);
    assert.ok(lstatSync(join(target, 'a')).isDirectory());
  });
});

describe('restore from a damaged repository', () => {
  it('loses what is in a missing pack and nothing else, and names it', async (t) => {
    const { folder, repository, snapshot } = await threeFiles(t);
    await repository.storage.remove(packName(snapshot.contentPacks[1]!));
    const target = join(folder, 'target');
    const { lost, damage } = await restoreHandMade(repository, snapshot.id, { target });
    assert.deepEqual(lost.length, 1);
    assert.match(lost[0]!, /^Cannot restore "b": cannot trust "packs\/.*it is missing$/);
    assert.equal(damage.length, 1);
    assert.deepEqual(readdirSync(target).sort(), ['a', 'c']);
  });

  it('loses what is in one frame by a flipped bit, and keeps its neighbours in the pack', async (t) => {
    const folder = temporaryFolder(t);
    const tree = join(folder, 'tree');
    mkdirSync(tree);
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (const name of names) writeFileSync(join(tree, name), randomBytes(1_100_000));
    const repository = await HandMadeRepository.create(new LocalStorage(join(folder, 'repository')));
    const snapshot = await repository.snapshot(entriesOf(tree), { packBytes: 64 * 2 ** 20 });
    assert.equal(snapshot.contentPacks.length, 1);
    const path = join(folder, 'repository', packName(snapshot.contentPacks[0]!));
    const bytes = readFileSync(path);
    bytes[2_500_000]! ^= 1;
    rmSync(path);
    writeFileSync(path, bytes);
    const target = join(folder, 'target');
    const { lost, damage } = await restoreHandMade(repository, snapshot.id, { target });
    // The bit is in one chunk of age, which two frames can share.
    assert.ok(lost.length >= 1 && lost.length <= 3, lost.join('\n'));
    assert.match(damage[0]!, /its SHA-256 is/);
    assert.equal(readdirSync(target).length, names.length - lost.length);
    for (const name of readdirSync(target))
      assert.ok(readFileSync(join(target, name)).equals(readFileSync(join(tree, name))));
  });

  it('loses a stretch of the tree by a damaged segment, and says which', async (t) => {
    const { folder, repository, snapshot } = await threeFiles(t);
    await repository.storage.remove(packName(snapshot.treePack));
    const target = join(folder, 'target');
    const { lost } = await restoreHandMade(repository, snapshot.id, { target });
    assert.match(lost.join('\n'), /^Cannot restore what lies from "a" to the end: .* it is missing$/);
  });
});

describe('one small file out of a large repository', () => {
  it('takes at most twelve requests and three MiB', async (t) => {
    const folder = temporaryFolder(t);
    const tree = join(folder, 'tree');
    mkdirSync(join(tree, 'src'), { recursive: true });
    for (let number = 0; number < 20; number++)
      writeFileSync(join(tree, `big${number}`), randomBytes(2_000_000));
    for (let number = 0; number < 3000; number++)
      writeFileSync(join(tree, 'src', `file${number}`), `content ${number}`);
    const storage = new CountingStorage(new MemoryStorage());
    const repository = await HandMadeRepository.create(storage);
    await repository.snapshot(entriesOf(tree), { packBytes: 16 * 2 ** 20 });
    storage.reset();
    const { committed } = await listSnapshots(storage);
    const { snapshot, objects } = await openHandMade(repository, selectSnapshot(committed, 'latest'));
    const pieces: Uint8Array[] = [];
    for await (const piece of readContent(snapshot, objects, Buffer.from('src/file1234'))) pieces.push(piece);
    assert.equal(Buffer.concat(pieces).toString(), 'content 1234');
    assert.ok(storage.requests.length <= 12, storage.requests.join('\n'));
    let bytes = 0;
    for (const [name, read] of storage.bytesRead) if (!name.includes('SHA256SUMS')) bytes += read;
    assert.ok(bytes <= 3 * 2 ** 20, `${bytes} bytes`);

    storage.reset();
    const target = join(folder, 'target');
    const selection = new Selection({ paths: ['src/file77'] });
    await restoreHandMade(repository, snapshot.signed.id, { target, selection });
    assert.equal(readFileSync(join(target, 'src', 'file77'), 'utf8'), 'content 77');
    assert.ok(storage.requests.length <= 11, storage.requests.join('\n'));
  });
});

describe('hard links', () => {
  it('to a file that is not wanted bring its content', async (t) => {
    const folder = temporaryFolder(t);
    const tree = join(folder, 'tree');
    makeTree(tree);
    const repository = await HandMadeRepository.create(new LocalStorage(join(folder, 'repository')));
    const { id } = await repository.snapshot(entriesOf(tree));
    const target = join(folder, 'target');
    const selection = new Selection({ paths: ['plain/third', 'links/second', 'links/relative-again'] });
    const { lost } = await restoreHandMade(repository, id, { target, selection });
    assert.deepEqual(lost, []);
    assert.equal(readFileSync(join(target, 'plain', 'third'), 'utf8'), 'linked');
    assert.equal(statSync(join(target, 'plain', 'third')).ino, statSync(join(target, 'links', 'second')).ino);
    assert.equal(readlinkSync(join(target, 'links', 'relative-again')), 'first');
  });
});

function namesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
}

interface ThreeFiles {
  readonly folder: string;
  readonly repository: HandMadeRepository;
  readonly snapshot: HandMadeSnapshot;
}

/** Each in a pack of its own. */
async function threeFiles(t: TestContext): Promise<ThreeFiles> {
  const folder = temporaryFolder(t);
  const tree = join(folder, 'tree');
  mkdirSync(tree);
  for (const name of ['a', 'b', 'c']) writeFileSync(join(tree, name), randomBytes(200_000));
  const repository = await HandMadeRepository.create(new LocalStorage(join(folder, 'repository')));
  const snapshot = await repository.snapshot(entriesOf(tree), { packPerFile: true });
  assert.equal(snapshot.contentPacks.length, 3);
  return { folder, repository, snapshot };
}
