import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import * as fc from 'fast-check';
import { parsePrometheusText } from '../../../test/support/prometheus-text.ts';
import { makeStepReport } from '../../../test/support/step-report.ts';
import type { LastRun } from '../run/run-state.ts';
import { appendToLog } from './append-to-log.ts';
import { journalEntry } from './journal-entry.ts';
import { renderMetrics, type StepMemory } from './render-metrics.ts';
import { firstLine } from './step-report.ts';
import { syslogLine } from './syslog-line.ts';
import { truncateUtf8 } from './truncate-utf8.ts';
import { writeRecords, type RecordSettings } from './write-records.ts';

const settings: RecordSettings = { version: '1.2.3' };
const noSleep = (): Promise<void> => Promise.resolve();

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-records-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

function memory(changes: Partial<StepMemory> = {}, last: Partial<LastRun> = {}): StepMemory {
  return {
    kind: 'backup',
    name: 'web',
    repository: 'main',
    ...changes,
    last: {
      startedAt: new Date('2026-11-23T02:30:00.000Z'),
      endedAt: new Date('2026-11-23T02:30:12.345Z'),
      outcome: 'failure',
      message: 'no',
      durationMs: 12_345.678,
      warnings: 2,
      runs: 7,
      failures: 3,
      goodAt: new Date('2026-11-22T02:30:00.000Z'),
      numbers: { contentBytes: 1e15, storedBytes: 0, filesNew: 4 },
      ...last,
    },
  };
}

test('the log begins a new file before one grows too large, and keeps so many old ones', (t) => {
  const path = join(temporaryFolder(t), 'log');
  for (let number = 0; number < 10; number++)
    appendToLog({ path, maxBytes: 25, keep: 2 }, `line ${number} 56789`);
  const read = (name: string): string => readFileSync(name, 'utf8');
  assert.equal(read(path), 'line 9 56789\n');
  assert.equal(read(`${path}.1`), 'line 8 56789\n');
  assert.equal(read(`${path}.2`), 'line 7 56789\n');
  assert.equal(readdirSync(join(path, '..')).length, 3);
  assert.equal(statSync(path).mode & 0o777 & ~0o640, 0);
});

test('lines of up to the limit share a file; a longer one has its own; none are kept if none are wanted', (t) => {
  const path = join(temporaryFolder(t), 'log');
  for (const line of ['1234', '1234']) appendToLog({ path, maxBytes: 10, keep: 1 }, line);
  assert.equal(readFileSync(path, 'utf8'), '1234\n1234\n');
  appendToLog({ path, maxBytes: 10, keep: 1 }, 'x'.repeat(50));
  assert.equal(readFileSync(path, 'utf8').length, 51);
  assert.equal(readFileSync(`${path}.1`, 'utf8'), '1234\n1234\n');
  appendToLog({ path, maxBytes: 10, keep: 0 }, 'new');
  assert.equal(readFileSync(path, 'utf8'), 'new\n');
});

test('metrics are in the text format of Prometheus, with names as it advises', () => {
  const text = renderMetrics(
    [
      memory(),
      memory({ kind: 'verify', name: 'a"b\\c\nd' }, { goodAt: undefined, numbers: { problems: Number.NaN } }),
    ],
    '1.2.3',
  );
  const families = parsePrometheusText(text);
  const value = (name: string, step = 'backup'): number | undefined =>
    families.get(name)?.samples.find(({ labels }) => labels['step'] === step)?.value;
  assert.equal(value('salvage_step_runs_total'), 7);
  assert.equal(families.get('salvage_step_runs_total')!.type, 'counter');
  assert.equal(value('salvage_step_failures_total'), 3);
  assert.equal(value('salvage_step_last_run_succeeded'), 0);
  assert.equal(value('salvage_step_last_run_duration_seconds'), 12.346);
  assert.equal(value('salvage_step_last_run_timestamp_seconds'), 1795401012.345);
  assert.equal(value('salvage_step_last_success_timestamp_seconds'), 1795314600);
  assert.equal(value('salvage_step_last_success_timestamp_seconds', 'verify'), undefined);
  assert.equal(value('salvage_step_last_content_bytes'), 1e15);
  assert.equal(value('salvage_step_last_stored_bytes'), 0);
  assert.equal(families.has('salvage_step_last_problems'), false);
  const names = families.get('salvage_step_runs_total')!.samples.map(({ labels }) => labels['name']);
  assert.deepEqual(names, ['web', 'a"b\\c\nd']);
});

test('the metrics file is there as a whole or as it was', async (t) => {
  const folder = temporaryFolder(t);
  const metricsFile = join(folder, 'salvage.prom');
  assert.deepEqual(
    await writeRecords({ ...settings, metricsFile }, makeStepReport(), [memory()], noSleep),
    [],
  );
  assert.ok(parsePrometheusText(readFileSync(metricsFile, 'utf8')).size > 5);
  assert.equal(statSync(metricsFile).mode & 0o444, 0o444);
  assert.deepEqual(readdirSync(folder), ['salvage.prom']);
});

test('a place that cannot be written to is named, and the others are written to', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'file'), '');
  const logFile = { path: join(folder, 'log'), maxBytes: 1000, keep: 1 };
  const troubles = await writeRecords(
    {
      ...settings,
      journal: join(folder, 'no-journal'),
      syslog: { facility: 'daemon', socket: join(folder, 'file') },
      metricsFile: join(folder, 'no-folder', 'salvage.prom'),
      logFile,
    },
    makeStepReport(),
    [],
    noSleep,
  );
  assert.equal(troubles.length, 2);
  assert.match(troubles[0]!, /^The record was not written to syslog at ".*\/file": nobody listens there$/);
  assert.match(troubles[1]!, /salvage\.prom": there is no such file or folder$/);
  const line = JSON.parse(readFileSync(logFile.path, 'utf8')) as Record<string, unknown>;
  assert.equal(line['outcome'], 'failure');
});

test('a line for syslog is one line of bounded length, with the priority of its outcome', () => {
  const report = makeStepReport({ message: `two\nlines ${'ü'.repeat(5000)}`, name: 'web' });
  const line = Buffer.from(syslogLine(report, 'local7', 42)).toString();
  assert.ok(Buffer.byteLength(line) <= 2000);
  assert.match(line, /^<187>Nov 23 \d\d:30:12 salvage\[42\]: backup of web on db-1 FAILED: two lines ü+/);
  assert.match(
    line,
    / \(step=backup name=web repository=main outcome=failure code=failed warnings=0 seconds=12\.345\)$/,
  );
  assert.ok(!/[\n\uFFFD]/.test(line));
  const early = makeStepReport({ outcome: 'success', endedAt: new Date(2026, 0, 3, 4, 5, 6) });
  assert.match(Buffer.from(syslogLine(early, 'daemon', 1)).toString(), /^<30>Jan {2}3 04:05:06 salvage/);
});

test('an entry for the journal says lines of a value by its length', () => {
  const bytes = Buffer.from(
    journalEntry(makeStepReport({ warnings: ['one', 'two\nlines'], hint: undefined })),
  );
  const fields = new Map<string, string>();
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf('\n', at);
    const line = bytes.toString('utf8', at, end);
    const equals = line.indexOf('=');
    if (equals >= 0) {
      fields.set(line.slice(0, equals), line.slice(equals + 1));
      at = end + 1;
    } else {
      const length = Number(bytes.readBigUInt64LE(end + 1));
      fields.set(line, bytes.toString('utf8', end + 9, end + 9 + length));
      assert.equal(bytes[end + 9 + length], 0x0a);
      at = end + 10 + length;
    }
  }
  assert.equal(fields.get('PRIORITY'), '3');
  assert.equal(fields.get('SALVAGE_WARNINGS'), 'one\ntwo lines');
  assert.equal(fields.get('SALVAGE_OUTCOME'), 'failure');
  assert.match(fields.get('MESSAGE')!, /^backup of web on db-1 FAILED: Cannot open/);
  assert.ok([...fields.keys()].every((name) => /^[A-Z][A-Z0-9_]*$/.test(name)));
});

test('texts are cut between characters', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.nat(60), (text, mostBytes) => {
      const cut = truncateUtf8(text, mostBytes);
      assert.ok(Buffer.byteLength(cut) <= mostBytes || text === cut);
      assert.ok(text.startsWith(cut));
      assert.ok(cut === text || Buffer.byteLength(cut) > mostBytes - 4);
    }),
  );
  assert.equal(truncateUtf8('aü', 2), 'a');
  assert.equal(truncateUtf8('aü', 3), 'aü');
});

test('nothing in a line moves a cursor, ends it, or goes on for ever', () => {
  assert.equal(firstLine('a\r\nb\u001b[31m\u2028c\u202e'), 'a b [31m c');
  assert.equal(firstLine('x'.repeat(5000)).length, 1001);
});
