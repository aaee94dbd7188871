import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SalvageError } from '../../errors/salvage-error.ts';
import { testStorage } from '../../../test/support/storage-conformance.ts';
import { FaultyStorage } from '../../../test/support/faulty-storage.ts';
import { stageObject } from '../staged-object.ts';
import { LocalStorage } from './local-storage.ts';

function withFolder(run: (folder: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const folder = mkdtempSync(join(tmpdir(), 'salvage-local-'));
    try {
      await run(folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };
}

testStorage('local', {
  open: async () => {
    const folder = await Promise.resolve(mkdtempSync(join(tmpdir(), 'salvage-local-')));
    return {
      storage: new LocalStorage(join(folder, 'new', 'repo')),
      second: new LocalStorage(join(folder, 'new', 'repo')),
      close: async () => {
        await Promise.resolve(rmSync(folder, { recursive: true, force: true }));
      },
    };
  },
});

testStorage('local behind a decorator', {
  open: async () => {
    const folder = await Promise.resolve(mkdtempSync(join(tmpdir(), 'salvage-local-')));
    return {
      storage: new FaultyStorage(new LocalStorage(folder)),
      second: new FaultyStorage(new LocalStorage(folder)),
      close: async () => {
        await Promise.resolve(rmSync(folder, { recursive: true, force: true }));
      },
    };
  },
  bigBytes: 1_000_000,
});

test(
  'leftovers of crashed uploads are not seen, and removed when they are old',
  withFolder(async (folder) => {
    const storage = new LocalStorage(folder);
    stageObject(storage.stageSpec, 'never-stored', [Buffer.from('half')]);
    await storage.create('object', [Buffer.from('x')]);
    assert.equal(readdirSync(join(folder, '.incoming')).length, 1);
    assert.equal(await storage.removeUnfinished(60_000), 0);
    const [left] = readdirSync(join(folder, '.incoming'));
    const anHourAgo = Date.now() / 1000 - 3600;
    utimesSync(join(folder, '.incoming', left!), anHourAgo, anHourAgo);
    stageObject(storage.stageSpec, 'young', [Buffer.from('half')]);
    assert.equal(await storage.removeUnfinished(60_000), 1);
    assert.equal(readdirSync(join(folder, '.incoming')).length, 1);
    assert.equal(await storage.removeUnfinished(-60_000), 1);
    assert.ok(!existsSync(join(folder, '.incoming')));
    assert.equal(await storage.create('other', [Buffer.from('x')]), 'created');
  }),
);

test(
  'what is no regular file is no object: symlinks are not followed',
  withFolder(async (folder) => {
    const storage = new LocalStorage(folder);
    writeFileSync(join(folder, '..', 'salvage-outside'), 'secret');
    symlinkSync('../salvage-outside', join(folder, 'link'));
    mkdirSync(join(folder, 'folder'));
    writeFileSync(join(folder, 'no name!'), '');
    try {
      await assert.rejects(async () => await storage.read('link'), SalvageError);
      assert.equal(await storage.stat('link'), undefined);
      assert.equal(await storage.read('folder'), undefined);
      for await (const { name } of storage.list('')) assert.fail(name);
    } finally {
      rmSync(join(folder, '..', 'salvage-outside'));
    }
  }),
);

test(
  'what the file system refuses is an error that names the object',
  withFolder(async (folder) => {
    writeFileSync(join(folder, 'packs'), 'a file where a folder should be');
    const storage = new LocalStorage(folder);
    await assert.rejects(
      async () => await storage.create('packs/aa/object', [Buffer.from('x')]),
      (error) =>
        error instanceof SalvageError && error.code === 'failed' && error.message.includes('packs/aa/object'),
    );
    assert.deepEqual(readdirSync(join(folder, '.incoming')), [], 'nothing is left behind');
    if (process.getuid?.() === 0) return;
    chmodSync(folder, 0o500);
    await assert.rejects(async () => await storage.create('object', [Buffer.from('x')]), SalvageError);
  }),
);

test(
  'a staged file of another storage, or one cut short, is refused',
  withFolder(async (folder) => {
    const storage = new LocalStorage(join(folder, 'a'));
    const other = stageObject(new LocalStorage(join(folder, 'b')).stageSpec, 'object', [Buffer.from('x')]);
    await assert.rejects(async () => await storage.createStaged(other), SalvageError);
    const staged = stageObject(storage.stageSpec, 'object', [Buffer.from('whole')]);
    await assert.rejects(async () => await storage.createStaged({ ...staged, sizeBytes: 6 }), SalvageError);
    assert.equal(await storage.stat('object'), undefined);
  }),
);
