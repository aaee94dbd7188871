import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { SalvageError } from '../../errors/salvage-error.ts';
import { makeStepReport } from '../../../test/support/step-report.ts';
import { runHooksAfter, runHooksBefore, type Hook, type HookMoment } from './run-hooks.ts';

const { signal } = new AbortController();

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-hooks-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

function hook(on: HookMoment[], command: string, changes: Partial<Hook> = {}): Hook {
  return { on, command, timeoutMs: 30_000, ...changes };
}

function surroundings(folder: string, lines: string[] = []) {
  return {
    env: { PATH: process.env['PATH'], OUT: folder },
    onOutput: (_: Hook, line: string) => lines.push(line),
  };
}

test('a hook gets the result as JSON and in variables, and what it prints is handed on', async (t) => {
  const folder = folderOf(t);
  const lines: string[] = [];
  const report = makeStepReport({ outcome: 'warning', warnings: ['"/etc/x" cannot be read\nand more'] });
  const troubles = await runHooksAfter(
    [hook(['warning'], 'cat > $OUT/json; env > $OUT/env; echo out; echo err >&2')],
    report,
    surroundings(folder, lines),
  );
  assert.deepEqual(troubles, []);
  assert.deepEqual(lines.sort(), ['err', 'out']);
  const json = JSON.parse(readFileSync(join(folder, 'json'), 'utf8')) as Record<string, unknown>;
  assert.deepEqual(json, {
    hook: 'warning',
    url: 's3://bucket/web',
    step: 'backup',
    name: 'web',
    repository: 'main',
    host: 'db-1',
    outcome: 'warning',
    startedAt: '2026-11-23T02:30:00.000Z',
    endedAt: '2026-11-23T02:30:12.345Z',
    durationSeconds: 12.345,
    message: report.message,
    code: 'failed',
    hint: 'Try it again.',
    warnings: ['"/etc/x" cannot be read and more'],
    snapshot: null,
    numbers: { contentBytes: 1000, filesNew: 3, storedBytes: 500 },
  });
  const env = readFileSync(join(folder, 'env'), 'utf8');
  for (const line of [
    'SALVAGE_HOOK=warning',
    'SALVAGE_STEP=backup',
    'SALVAGE_NAME=web',
    'SALVAGE_REPOSITORY=s3://bucket/web',
    'SALVAGE_REPOSITORY_NAME=main',
    'SALVAGE_OUTCOME=warning',
    'SALVAGE_WARNINGS=1',
    'SALVAGE_DURATION_SECONDS=12.345',
  ])
    assert.ok(env.includes(`${line}\n`), line);
});

test('the moments, kinds of steps and names for which a hook is meant', async (t) => {
  const folder = folderOf(t);
  const count = async (
    on: HookMoment,
    changes: Partial<Hook>,
    report = makeStepReport(),
  ): Promise<number> => {
    const file = join(folder, 'ran');
    rmSync(file, { force: true });
    await runHooksAfter([hook([on], 'echo >> $OUT/ran', changes)], report, surroundings(folder));
    return existsSync(file) ? readFileSync(file).length : 0;
  };
  assert.equal(await count('after', {}), 1);
  assert.equal(await count('failure', {}), 1);
  assert.equal(await count('success', {}), 0);
  assert.equal(await count('before', {}), 0);
  assert.equal(await count('success', {}, makeStepReport({ outcome: 'success' })), 1);
  assert.equal(await count('warning', {}, makeStepReport({ outcome: 'success' })), 0);
  assert.equal(await count('after', { on: ['after', 'failure'] }), 1);
  assert.equal(await count('after', { steps: ['copy'] }), 0);
  assert.equal(await count('after', { steps: ['copy', 'backup'] }), 1);
  assert.equal(await count('after', { names: ['other'] }), 0);
  assert.equal(await count('after', { names: ['main'] }), 1);
  assert.equal(await count('after', { names: ['web'] }), 1);
});

test('a hook before that fails stops the step and the hooks behind it', async (t) => {
  const folder = folderOf(t);
  const hooks = [
    hook(['before'], 'echo 1 >> $OUT/ran'),
    hook(['before'], 'echo the database is away >&2; exit 7'),
    hook(['before'], 'echo 3 >> $OUT/ran'),
  ];
  await assert.rejects(
    runHooksBefore(hooks, makeStepReport(), surroundings(folder), signal),
    (error: SalvageError) =>
      error.code === 'failed' && error.message.endsWith('ended with exit code 7 (the database is away)'),
  );
  assert.equal(readFileSync(join(folder, 'ran'), 'utf8'), '1\n');
});

test('hooks after the step all run, and one that fails is reported and no more', async (t) => {
  const folder = folderOf(t);
  const troubles = await runHooksAfter(
    [hook(['after'], 'kill -KILL $$'), hook(['failure'], 'no-such-program'), hook(['after'], 'true')],
    makeStepReport(),
    surroundings(folder),
  );
  assert.equal(troubles.length, 2);
  assert.match(troubles[0]!, /was ended by SIGKILL/);
  assert.match(troubles[1]!, /ended with exit code 127/);
});

test('a hook that takes too long is ended with all that it has started', async (t) => {
  const folder = folderOf(t);
  const [trouble] = await runHooksAfter(
    [hook(['after'], 'sleep 1000 & echo $! > $OUT/pid; wait', { timeoutMs: 3000 })],
    makeStepReport(),
    surroundings(folder),
  );
  assert.match(trouble!, /took longer than 3 seconds and was ended/);
  const pid = Number(readFileSync(join(folder, 'pid'), 'utf8'));
  await untilGone(pid);
});

test('an interrupted run asks the hook to end', async (t) => {
  const folder = folderOf(t);
  const controller = new AbortController();
  const running = runHooksBefore(
    [
      hook(
        ['before'],
        'trap "echo $$ > $OUT/asked; exit 1" TERM; echo > $OUT/up; while :; do sleep 0.05; done',
      ),
    ],
    makeStepReport(),
    surroundings(folder),
    controller.signal,
  );
  while (!existsSync(join(folder, 'up'))) await new Promise((resolve) => setTimeout(resolve, 10));
  controller.abort(new SalvageError('interrupted', 'Interrupted'));
  await assert.rejects(running, { code: 'interrupted' });
  assert.ok(existsSync(join(folder, 'asked')));
});

test('output without end is bounded, and input that nobody reads is no trouble', async (t) => {
  const lines: string[] = [];
  const troubles = await runHooksAfter(
    [hook(['after'], 'exec 0<&-; head -c 10000000 /dev/zero | tr "\\0" x; echo; echo the end')],
    makeStepReport({ message: 'm'.repeat(1_000_000) }),
    surroundings(folderOf(t), lines),
  );
  assert.deepEqual(troubles, []);
  assert.equal(lines.at(-1), 'the end');
  assert.ok(lines.join('').length <= 16 * 1024);
});

test('what a hook leaves running does not hold up the run', async (t) => {
  const folder = folderOf(t);
  const troubles = await runHooksAfter(
    [hook(['after'], 'sleep 1000 & echo $! > $OUT/pid', { timeoutMs: 20_000 })],
    makeStepReport(),
    surroundings(folder),
  );
  process.kill(Number(readFileSync(join(folder, 'pid'), 'utf8')), 'SIGKILL');
  assert.deepEqual(troubles, []);
});

async function untilGone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
      // A zombie that nobody has asked after yet is gone, too.
      if (/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) return;
    } catch {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
