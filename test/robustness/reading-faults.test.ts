// A fault at every single call to storage while a repository is read: an error, a reading that comes back short, no
// answer. Nothing wrong is ever taken for right: what is not as it should be is named, and the next run goes on.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { comparableEntries, diffTrees } from '../../src/operation/browse/diff-trees.ts';
import { readContent } from '../../src/operation/browse/read-content.ts';
import { restore } from '../../src/operation/restore/restore.ts';
import { Selection } from '../../src/operation/restore/selection.ts';
import { verify, type VerifyResult } from '../../src/operation/verify/verify.ts';
import { MemoryStorage } from '../../src/storage/memory/memory-storage.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { compareTrees } from '../support/compare-trees.ts';
import { CountingStorage } from '../support/counting-storage.ts';
import { FaultyStorage, type Fault, type StorageCall } from '../support/faulty-storage.ts';
import { entriesOf, handMadePrincipal, HandMadeRepository } from '../support/hand-made-repository.ts';
import { openHandMade, restoreHandMade, type RestoreReport } from '../support/restore-hand-made.ts';
import type { SnapshotId } from '../../src/repository/ids.ts';

const scratch = mkdtempSync(join(tmpdir(), 'salvage-reading-'));
after(() => rmSync(scratch, { recursive: true, force: true }));
const tree = join(scratch, 'tree');
const unfinishedMode = 0o1600;
let repository: HandMadeRepository;
let first: SnapshotId;
let second: SnapshotId;

before(async () => {
  mkdirSync(join(tree, 'folder'), { recursive: true });
  writeFileSync(join(tree, 'small'), 'small');
  // In several packs.
  writeFileSync(join(tree, 'folder', 'large'), randomBytes(700_000));
  writeFileSync(join(tree, 'folder', 'other'), randomBytes(90_000));
  linkSync(join(tree, 'small'), join(tree, 'folder', 'linked'));
  symlinkSync('small', join(tree, 'symlink'));
  repository = await HandMadeRepository.create(new MemoryStorage());
  const files = entriesOf(tree);
  ({ id: first } = await repository.snapshot(files.slice(0, 3)));
  ({ id: second } = await repository.snapshot(files, { packBytes: 100 * 1024, packPerFile: true }));
});

interface At {
  readonly storage: FaultyStorage;
  readonly fault: Fault;
  /** What was to be done when it struck, once it has. */
  readonly struck: () => { readonly call: StorageCall; readonly name: string } | undefined;
  /** For messages. */
  readonly where: string;
}

/** Runs the work without a fault, and then once for each fault at each call. */
async function atEveryCall(
  work: (at: At) => Promise<void>,
  faults: readonly Fault[] = ['error', 'short', 'timeout'],
  ofObject = false,
): Promise<void> {
  const run = async (fault: Fault, index: number): Promise<number> => {
    let struck: { call: StorageCall; name: string } | undefined;
    const plan = (call: number, kind: StorageCall, name: string): Fault | undefined => {
      if (call !== index) return undefined;
      struck = { call: kind, name };
      return fault;
    };
    const storage = new FaultyStorage(repository.storage, { plan, timeoutMs: 2, ofObject });
    await work({ storage, fault, struck: () => struck, where: `${fault} at call ${index}` });
    return storage.calls;
  };
  const calls = await run('error', -1);
  assert.ok(calls > 2);
  for (const fault of faults) for (let index = 0; index < calls; index++) await run(fault, index);
}

/** The work's result, or undefined if it failed as it may after a fault. */
async function orFailure<T>({ where, struck }: At, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    assert.ok(error instanceof SalvageError, `${where}: ${String(error)}`);
    assert.ok(['failed', 'damaged', 'bad-signature'].includes(error.code), `${where}: ${error.message}`);
    assert.ok(struck(), `without a fault: ${error.message}`);
    return undefined;
  }
}

/** Whatever is in the target is as it was, or marked as unfinished. Returns how many files are right. */
function rightFiles(target: string, where: string): number {
  let right = 0;
  for (const name of readdirSync(target, { recursive: true, encoding: 'utf8' })) {
    const status = lstatSync(join(target, name));
    if (!status.isFile() || (status.mode & 0o7777) === unfinishedMode) continue;
    assert.ok(readFileSync(join(target, name)).equals(readFileSync(join(tree, name))), `${where}: ${name}`);
    right++;
  }
  return right;
}

let targets = 0;

async function restoreAt(at: At): Promise<void> {
  const target = join(scratch, `target${targets++}`);
  mkdirSync(target);
  const report = await orFailure<RestoreReport>(at, () =>
    restoreHandMade(repository, second, { target, threads: 1, storage: at.storage }),
  );
  const right = rightFiles(target, at.where);
  const isWhole = right === 4 && existsSync(join(target, 'symlink'));
  if (report) assert.equal(report.lost.length === 0, isWhole, `${at.where}: ${report.lost.join('\n')}`);
  if (!isWhole) {
    const again = await restoreHandMade(repository, second, { target, threads: 1 });
    assert.deepEqual([again.lost, again.problems, again.damage], [[], [], []], at.where);
    assert.ok(again.summary.kept >= right, `${at.where}: ${again.summary.kept} kept of ${right}`);
    assert.equal(rightFiles(target, at.where), 4, at.where);
  }
  rmSync(target, { recursive: true });
}

describe('a fault at every call to storage', () => {
  test('of restore: what is there is right, what is not is named, the next run completes it', async () => {
    await atEveryCall(restoreAt);
  });

  test('of restore, with one object alone: everything else is restored', async () => {
    await atEveryCall(
      async (at) => {
        const target = join(scratch, `target${targets++}`);
        const report = await orFailure(at, () =>
          restoreHandMade(repository, second, { target, threads: 1, storage: at.storage }),
        );
        const struck = at.struck();
        if (struck?.name.startsWith('packs/')) {
          assert.ok(report, `${at.where}: ended by ${struck.call} of ${struck.name}`);
          // One file, and its other name.
          assert.ok(report.lost.length <= 2, `${at.where}: ${report.lost.join('\n')}`);
        }
        rmSync(target, { recursive: true, force: true });
      },
      ['error'],
      true,
    );
  });

  for (const opens of [false, true])
    test(`of verify ${opens ? 'with' : 'without'} an identity: it is never called clean`, async () => {
      await atEveryCall(
        async (at) => {
          const result = await orFailure<VerifyResult>(at, () =>
            verify(
              at.storage,
              {
                trusted: { allowedSigners: repository.allowedSigners, principal: handMadePrincipal },
                remembered: () => undefined,
                seenHere: [],
                readShare: 1,
                ...(opens && { identities: [repository.identity] }),
                threads: 1,
              },
              { onTrouble: () => {}, onTotal: () => {}, onProgress: () => {} },
            ),
          );
          if (!result) return;
          const struck = at.struck();
          // Nothing is cut short but what is read.
          const isHarmless = !struck || (at.fault === 'short' && struck.call !== 'read');
          assert.equal(result.troubles.length === 0, isHarmless, `${at.where}: ${struck?.name}`);
        },
        opens ? undefined : ['error'],
      );
    });

  test('of ls, diff and cat: all of it, or an error', async () => {
    const sources = Buffer.from('folder/large');
    const expected = readFileSync(join(tree, 'folder', 'large'));
    await atEveryCall(async (at) => {
      const listed = await orFailure(at, async () => {
        const { snapshot } = await openHandMade(repository, second, at.storage);
        const paths: string[] = [];
        for await (const { entry } of comparableEntries(snapshot)) paths.push(entry.path.toString());
        return paths;
      });
      if (listed) assert.equal(listed.length, 6, at.where);
    });
    await atEveryCall(async (at) => {
      const differences = await orFailure(at, async () => {
        const before = await openHandMade(repository, first, at.storage);
        const after = await openHandMade(repository, second, at.storage);
        return await Array.fromAsync(
          diffTrees(comparableEntries(before.snapshot), comparableEntries(after.snapshot)),
        );
      });
      if (differences) assert.equal(differences.length, 3, at.where);
    });
    await atEveryCall(async (at) => {
      const content = await orFailure(at, async () => {
        const { snapshot, objects } = await openHandMade(repository, second, at.storage);
        return Buffer.concat(await Array.fromAsync(readContent(snapshot, objects, sources)));
      });
      if (content) assert.ok(content.equals(expected), at.where);
    });
  });
});

test('a storage that does not answer any more lets go at Ctrl-C', async () => {
  const interrupted = new SalvageError('interrupted', 'Interrupted');
  for (let silentFrom = 0; ; silentFrom++) {
    const stop = new AbortController();
    let isSilent = false;
    const plan = (index: number, call: StorageCall, name: string): Fault | undefined => {
      if (index < silentFrom || call !== 'read' || !name.startsWith('packs/')) return undefined;
      isSilent = true;
      setImmediate(() => stop.abort(interrupted));
      return 'timeout';
    };
    const storage: Storage = new FaultyStorage(repository.storage, { plan, timeoutMs: 60_000 });
    const { snapshot, objects } = await openHandMade(repository, second, storage, stop.signal);
    const target = join(scratch, `target${targets++}`);
    const quiet = { onLost: () => {}, onProblem: () => {}, onDamage: () => {}, onProgress: () => {} };
    const options = { target, threads: 1, selection: new Selection({}) };
    const run = restore(storage, snapshot, objects, options, quiet, stop.signal);
    const outcome = await run.then(
      () => 'done',
      (error: unknown) => error,
    );
    assert.equal(outcome, isSilent ? interrupted : 'done', `from call ${silentFrom} on`);
    rightFiles(target, `silent from ${silentFrom}`);
    rmSync(target, { recursive: true });
    if (!isSilent) break;
  }
});

test('what is right is not fetched again after a fault', async () => {
  const target = join(scratch, `target${targets++}`);
  const storage = new CountingStorage(repository.storage);
  const whole = new CountingStorage(repository.storage);
  await restoreHandMade(repository, second, { target: join(scratch, 'whole'), threads: 1, storage: whole });
  const packReads = whole.requests.filter((request) => request.startsWith('read packs/')).length;
  const faulty = new FaultyStorage(repository.storage, {
    plan: (index) => (index > packReads - 1 ? 'error' : undefined),
  });
  await assert.rejects(restoreHandMade(repository, second, { target, threads: 1, storage: faulty }));
  const right = rightFiles(target, 'after the fault');
  const { summary } = await restoreHandMade(repository, second, { target, threads: 1, storage });
  assert.ok(summary.kept >= right);
  const sum = ({ bytesRead }: CountingStorage): number =>
    [...bytesRead.values()].reduce((total, bytes) => total + bytes, 0);
  assert.ok(right === 0 || sum(storage) < sum(whole), `${sum(storage)} of ${sum(whole)}, ${right} right`);
  assert.deepEqual(compareTrees(tree, target, { ignoreTop: true }), []);
});
