import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../clock/clock.ts';
import { SalvageError, type ErrorCode } from '../../errors/salvage-error.ts';
import type { StepKind, StepReport } from '../records/step-report.ts';
import { runSteps, worstCode, type RunnableStep, type RunOptions } from './run-steps.ts';

interface Told {
  readonly result: readonly StepReport[];
  /** What happened, in order. */
  readonly lines: readonly string[];
}

/** `ending`: a code that it fails with, 'bug', or undefined for success. */
function step(kind: StepKind, repository: string, ending?: ErrorCode | 'bug'): RunnableStep {
  return {
    id: `${kind}:${repository}`,
    kind,
    name: repository,
    repository,
    url: `/${repository}`,
    async perform(warnings) {
      warnings.push(`${kind} warns`);
      await Promise.resolve();
      if (ending === 'bug') throw new TypeError('x is not a function');
      if (ending !== undefined) throw new SalvageError(ending, 'Cannot do it', { hint: 'Do it.' });
      return { message: 'done', isIncomplete: false, snapshot: undefined, numbers: { objects: 1 } };
    },
  };
}

async function run(steps: readonly RunnableStep[], options: Partial<RunOptions> = {}): Promise<Told> {
  const lines: string[] = [];
  const result = await runSteps(steps, {
    host: 'here',
    damaged: new Set(),
    observer: {
      onBegin: (_, id) => void lines.push(`begin ${id}`),
      onEnd: ({ outcome }, id) => void lines.push(`${outcome} ${id}`),
      onBug: () => void lines.push('bug'),
    },
    clock: systemClock,
    signal: new AbortController().signal,
    ...options,
  });
  return { result, lines };
}

test('a failure keeps only those from being done that depend on it', async () => {
  const { result, lines } = await run([
    step('backup', 'a', 'failed'),
    step('verify', 'a', 'damaged'),
    step('verify', 'b'),
    step('forget', 'a'),
    step('prune', 'a'),
    step('forget', 'b', 'failed'),
    step('prune', 'b'),
    step('drill', 'a'),
  ]);
  assert.deepEqual(
    lines.filter((line) => !line.startsWith('begin')),
    [
      'failure backup:a',
      'failure verify:a',
      'success verify:b',
      'failure forget:a',
      'failure prune:a',
      'failure forget:b',
      'failure prune:b',
      'success drill:a',
    ],
  );
  assert.ok(!lines.includes('begin forget:a'));
  assert.equal(worstCode(result), 'damaged');
  const [first] = result;
  assert.deepEqual(
    [first?.code, first?.message, first?.hint, first?.warnings, first?.host],
    ['failed', 'Cannot do it', 'Do it.', ['backup warns'], 'here'],
  );
});

test('damage that was found earlier counts until a verify finds none', async () => {
  const waiting = await run([step('forget', 'a')], { damaged: new Set(['a']) });
  assert.deepEqual(waiting.lines, ['failure forget:a']);
  assert.equal(worstCode(waiting.result), 'damaged');
  const healed = await run([step('verify', 'a'), step('forget', 'a')], { damaged: new Set(['a']) });
  assert.deepEqual(healed.lines.at(-1), 'success forget:a');
  assert.equal(worstCode(healed.result), undefined);
});

test('what is in front of a step can keep it from being done; a bug ends nothing else', async () => {
  const lines: string[] = [];
  const { result } = await run([step('backup', 'a'), step('backup', 'b', 'bug')], {
    observer: {
      onBegin(_, id) {
        if (id === 'backup:a') throw new SalvageError('failed', 'Cannot begin: the hook says no');
      },
      onEnd: ({ message }) => void lines.push(message),
      onBug: (error) => void lines.push(String(error)),
    },
  });
  assert.deepEqual(lines, [
    'Cannot begin: the hook says no',
    'TypeError: x is not a function',
    'A bug in salvage: TypeError: x is not a function',
  ]);
  assert.equal(worstCode(result), 'failed');
});

test('an interrupted run reports the step that was under way, and begins no other', async () => {
  const controller = new AbortController();
  const reason = new SalvageError('interrupted', 'Interrupted');
  const ended: string[] = [];
  const steps = [step('backup', 'a', 'interrupted'), step('backup', 'b')];
  const observer = {
    onBegin: () => controller.abort(reason),
    onEnd: ({ code }: { code?: ErrorCode | undefined }) => void ended.push(String(code)),
    onBug: () => {},
  };
  await assert.rejects(run(steps, { observer, signal: controller.signal }), reason);
  assert.deepEqual(ended, ['interrupted']);
});
