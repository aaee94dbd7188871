import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { HandMadeRepository, type HandMadeSnapshot } from '../../../test/support/hand-made-repository.ts';
import { openHandMade } from '../../../test/support/restore-hand-made.ts';
import { harmlessFile } from '../../../test/support/hostile-tree.ts';
import { systemClock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { packName } from '../../repository/layout.ts';
import { MemoryStorage } from '../../storage/memory/memory-storage.ts';
import { chooseSample } from './choose-sample.ts';
import { DrillReports } from './drill-report.ts';
import { drill, type DrillOptions, type DrillResult } from './drill.ts';

const scratch = mkdtempSync(join(tmpdir(), 'salvage-drill-'));
after(() => rmSync(scratch, { recursive: true, force: true }));
const never = new AbortController().signal;

async function prepare(): Promise<{ repository: HandMadeRepository; snapshot: HandMadeSnapshot }> {
  const repository = await HandMadeRepository.create(new MemoryStorage());
  const files = Array.from({ length: 20 }, (_, index) =>
    harmlessFile(`f${String(index).padStart(2, '0')}`, Buffer.alloc(1000, index + 1)),
  );
  return { repository, snapshot: await repository.snapshot(files, { packPerFile: true }) };
}

let count = 0;

async function run(
  repository: HandMadeRepository,
  { id }: HandMadeSnapshot,
  settings: Partial<DrillOptions> = {},
): Promise<DrillResult> {
  const { snapshot, objects } = await openHandMade(repository, id);
  return await drill(
    {
      storage: repository.storage,
      snapshot,
      objects,
      scratch: join(scratch, String(count++)),
      limits: { maxBytes: 1_000_000, maxFiles: 100 },
      maxMs: 60_000,
      clock: systemClock,
      signal: never,
      ...settings,
    },
    { onFinding: () => {}, onTotal: () => {}, onProgress: () => {} },
  );
}

test('a sample is within its limits, another one each time, and everything if that fits', async () => {
  const { repository, snapshot } = await prepare();
  const { snapshot: opened } = await openHandMade(repository, snapshot.id);
  const sample = (maxBytes: number, maxFiles: number): ReturnType<typeof chooseSample> =>
    chooseSample(opened, { maxBytes, maxFiles }, never);
  assert.equal((await sample(20_000, 20)).paths, undefined);
  assert.deepEqual((await sample(19_999, 20)).paths?.length, 19);
  assert.deepEqual((await sample(20_000, 19)).paths?.length, 19);
  assert.deepEqual((await sample(3500, 20)).bytes, 3000);
  assert.deepEqual((await sample(999, 20)).paths, []);
  const seen = new Set<string>();
  for (let round = 0; round < 60 && seen.size < 20; round++)
    for (const path of (await sample(3000, 3)).paths ?? []) seen.add(path.toString());
  assert.ok(seen.size > 10, `${seen.size} of 20 files were ever chosen`);
});

test('a good snapshot passes; one with a damaged pack does not, and says which code is worst', async () => {
  const { repository, snapshot } = await prepare();
  const good = await run(repository, snapshot);
  assert.deepEqual([good.code, good.report.passed, good.report.files], [undefined, true, 20]);
  const name = packName(snapshot.contentPacks[3]!);
  const bytes = (await repository.storage.read(name))!;
  bytes[bytes.length - 20]! ^= 1;
  await repository.storage.remove(name);
  await repository.storage.create(name, [bytes]);
  const bad = await run(repository, snapshot);
  assert.deepEqual([bad.code, bad.report.passed], ['damaged', false]);
  assert.ok(bad.report.findings.length > 0);
});

test('nothing small enough, no time, and the user who stops it', async () => {
  const { repository, snapshot } = await prepare();
  const nothing = await run(repository, snapshot, { limits: { maxBytes: 10, maxFiles: 5 } });
  assert.deepEqual([nothing.code, nothing.report.passed, nothing.report.files], ['failed', false, 0]);
  const stopped = AbortSignal.abort(new SalvageError('interrupted', 'Stopped'));
  await assert.rejects(run(repository, snapshot, { signal: stopped }), /Stopped/);
});

test('reports come back as they were, and nothing else passes for one', async () => {
  const { repository, snapshot } = await prepare();
  const { report } = await run(repository, snapshot);
  const reports = new DrillReports(join(scratch, 'reports'));
  assert.equal(reports.read(repository.id), undefined);
  assert.ok(!reports.isUsed);
  await reports.write(report, repository.signer);
  assert.deepEqual(reports.read(repository.id)?.report, report);
  const many = { ...report, passed: false, findings: Array.from({ length: 500 }, () => 'x'.repeat(5000)) };
  await reports.write(many, repository.signer);
  assert.equal(reports.read(repository.id)?.report.findings.length, 100);
  await reports.write({ ...report, files: -1 }, repository.signer);
  assert.equal(reports.read(repository.id), undefined);
});
