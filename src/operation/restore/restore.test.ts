import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { compareTrees } from '../../../test/support/compare-trees.ts';
import { entriesOf, HandMadeRepository } from '../../../test/support/hand-made-repository.ts';
import { makeTree } from '../../../test/support/make-tree.ts';
import { LocalStorage } from '../../storage/local/local-storage.ts';
import { MemoryStorage } from '../../storage/memory/memory-storage.ts';
import type { Storage } from '../../storage/storage.ts';
import { openSnapshot } from '../open-snapshot.ts';
import { SealedObjects } from '../reading/sealed-objects.ts';
import { readSignedSnapshot } from '../reading/signed-snapshot.ts';
import { restore, type RestoreOptions, type RestoreSummary } from './restore.ts';
import { Selection } from './selection.ts';

function temporaryFolder(t: Pick<TestContext, 'after'>): string {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-restore-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

interface Report {
  readonly summary: RestoreSummary;
  readonly lost: readonly string[];
  readonly problems: readonly string[];
  readonly damage: readonly string[];
}

async function restoreAll(
  repository: HandMadeRepository,
  id: Parameters<typeof readSignedSnapshot>[1],
  options: Omit<RestoreOptions, 'selection'> & { selection?: Selection },
): Promise<Report> {
  const { storage, allowedSigners } = repository;
  const trusted = { allowedSigners, principal: 'test-host' };
  const signed = await readSignedSnapshot(storage, id, trusted, new Date());
  const objects = new SealedObjects(storage, [repository.identity]);
  const snapshot = await openSnapshot(storage, signed, objects);
  const lost: string[] = [];
  const problems: string[] = [];
  const damage: string[] = [];
  const summary = await restore(
    storage,
    snapshot,
    objects,
    { threads: 2, allowDevices: true, selection: new Selection({}), ...options },
    {
      onLost: ({ message }) => lost.push(message),
      onProblem: ({ path, what, message }) => problems.push(`${path.toString()}: ${what}: ${message}`),
      onDamage: (message) => damage.push(message),
      onProgress: () => {},
    },
  );
  return { summary, lost, problems, damage };
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
      const { summary, lost, problems, damage } = await restoreAll(repository, id, { target, check: true });
      assert.deepEqual({ lost, problems, damage }, { lost: [], problems: [], damage: [] });
      assert.deepEqual(compareTrees(tree, target, { ignoreTop: true }), []);
      assert.equal(summary.kept, 0);
    });
});
