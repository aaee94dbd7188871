import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createBackupHost, runBackup, type BackupHost } from '../../../test/support/backup-host.ts';
import type { PackId } from '../../repository/ids.ts';
import { PackTable } from '../../repository/pack/pack-table.ts';
import { readSignedSnapshot } from '../reading/signed-snapshot.ts';
import { chooseMerged } from './choose-merged.ts';
import { PackFacts } from './pack-facts.ts';

const mib = 1024 * 1024;
const targetBytes = 16 * mib;

interface Pack {
  readonly kind?: 'content' | 'tree';
  readonly sizeBytes?: number;
  /** Of 1,000,000 raw bytes. */
  readonly used?: number;
  readonly isMissing?: boolean;
}

/** The numbers of the packs that are chosen, in ascending order. */
function chosen(packs: readonly Pack[]): number[] {
  const table = new PackTable();
  const facts = new PackFacts();
  for (const { kind = 'content', sizeBytes = targetBytes, used = 1_000_000, isMissing } of packs) {
    const number = table.numberOf(createHash('sha256').update(String(table.size)).digest('hex') as PackId);
    facts.set(number, { kind, sizeBytes, rawBytes: 1_000_000 });
    facts.use(number, used);
    if (isMissing) table.forget(number);
  }
  return [...chooseMerged(table, facts, targetBytes)].sort((a, b) => a - b);
}

test('a pack of which less than a quarter is used is written anew, and one that is not used at all left alone', () => {
  const packs = [
    { used: 249_999 },
    { used: 250_000 },
    { used: 1 },
    { used: 0 },
    { used: 100, isMissing: true },
  ];
  assert.deepEqual(chosen(packs), [0, 2]);
});

test('of more than twelve small packs of one kind the eight smallest are merged', () => {
  // The smallest last.
  const small = (count: number, kind: 'content' | 'tree'): Pack[] =>
    Array.from({ length: count }, (_, index) => ({ kind, sizeBytes: 3 * mib - index }));
  assert.deepEqual(chosen(small(12, 'content')), []);
  assert.deepEqual(chosen(small(13, 'content')), [5, 6, 7, 8, 9, 10, 11, 12]);
  assert.deepEqual(chosen([...small(12, 'content'), ...small(12, 'tree')]), []);
  assert.deepEqual(chosen([...small(5, 'content'), ...small(13, 'tree')]), [10, 11, 12, 13, 14, 15, 16, 17]);
  const quarter = { sizeBytes: targetBytes / 4 };
  assert.deepEqual(chosen([...small(12, 'content'), quarter]), []);
  assert.equal(chosen([...small(12, 'content'), { sizeBytes: targetBytes / 4 - 1 }]).length, 8);
});

async function packsOfLast(host: BackupHost): Promise<{ packs: number; bytesNew: number }> {
  await setTimeout(30);
  const { snapshot, counts } = await runBackup(host);
  const { checksums } = await readSignedSnapshot(host.storage, snapshot!, undefined, new Date());
  return { packs: checksums.packs.length, bytesNew: counts.bytesNew };
}

test('many small runs do not leave ever more packs, and what is merged is stored once more, not again and again', async (t) => {
  const host = await createBackupHost(t);
  const write = (name: string): void => writeFileSync(join(host.folder, 'src', name), randomBytes(3000));
  let most = 0;
  for (let run = 0; run < 14; run++) {
    write(`file${String(run).padStart(2, '0')}`);
    const { packs, bytesNew } = await packsOfLast(host);
    most = Math.max(most, packs);
    // Run 13 has seen thirteen small content packs, and merges eight.
    assert.equal(bytesNew, run === 13 ? 9 * 3000 : 3000, `run ${run}`);
  }
  assert.ok(most <= 14, `${most} packs`);
  const { packs, bytesNew } = await packsOfLast(host);
  assert.deepEqual([packs, bytesNew], [7, 0]);
});

test('what is left of a pack that is hardly used moves to another one, and nothing changes for the files', async (t) => {
  const host = await createBackupHost(t);
  for (let index = 0; index < 10; index++)
    writeFileSync(join(host.folder, 'src', `f${index}`), randomBytes(10_000));
  assert.equal((await packsOfLast(host)).bytesNew, 100_000);
  for (let index = 2; index < 10; index++) rmSync(join(host.folder, 'src', `f${index}`));
  assert.equal((await packsOfLast(host)).bytesNew, 0);
  // A fifth of it is used.
  assert.equal((await packsOfLast(host)).bytesNew, 20_000);
  assert.equal((await packsOfLast(host)).bytesNew, 0);
});
