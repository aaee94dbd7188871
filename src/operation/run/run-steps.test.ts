import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { systemClock } from '../../clock/clock.ts';
import { systemSleep } from '../../clock/sleep.ts';
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
    needs: [repository],
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
    concurrency: 1,
    sleep: systemSleep,
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

suite('side by side', () => {
  /** Steps that end when they are told to. */
  class Stage {
    readonly going = new Set<string>();
    most = 0;
    readonly order: string[] = [];
    readonly #ends = new Map<string, () => void>();

    step(kind: StepKind, name: string, ...needs: string[]): RunnableStep {
      const id = `${kind}:${name}`;
      return {
        ...step(kind, name),
        id,
        needs: [name, ...needs],
        perform: async () => {
          this.order.push(id);
          this.going.add(id);
          this.most = Math.max(this.most, this.going.size);
          await new Promise<void>((resolve) => void this.#ends.set(id, resolve));
          this.going.delete(id);
          return { message: 'done', isIncomplete: false, snapshot: undefined, numbers: {} };
        },
      };
    }

    /** Lets a step end, and everything happen that follows from it. */
    async end(id: string): Promise<void> {
      this.#ends.get(id)!();
      await settle();
    }
  }

  const settle = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

  test('as many as may be, each in its turn where two need the same', async () => {
    const stage = new Stage();
    const steps = [
      stage.step('pull', 'a'),
      stage.step('pull', 'b'),
      stage.step('pull', 'c'),
      stage.step('copy', 'c', 'a'),
      stage.step('verify', 'a'),
      stage.step('verify', 'b'),
    ];
    const running = run(steps, { concurrency: 2 });
    await settle();
    assert.deepEqual([...stage.going], ['pull:a', 'pull:b']);
    await stage.end('pull:b');
    assert.deepEqual([...stage.going], ['pull:a', 'pull:c']);
    await stage.end('pull:c');
    // The copy waits for a pull, and what comes after the copy in the same place for the copy.
    assert.deepEqual([...stage.going], ['pull:a', 'verify:b']);
    await stage.end('verify:b');
    await stage.end('pull:a');
    assert.deepEqual([...stage.going], ['copy:c']);
    await stage.end('copy:c');
    await stage.end('verify:a');
    const { result } = await running;
    assert.equal(result.length, 6);
    assert.equal(stage.most, 2);
  });

  test('what becomes due while one goes on and on is done, but never twice at once', async () => {
    const stage = new Stage();
    const [slow, quick] = [stage.step('pull', 'slow'), stage.step('pull', 'quick')];
    let isDue = true;
    const running = run([slow, quick], {
      concurrency: 2,
      sleep: async () => await settle(),
      more: () => (isDue ? [slow, quick] : []),
    });
    await settle();
    await stage.end('pull:quick');
    while (!stage.going.has('pull:quick')) await settle();
    isDue = false;
    await stage.end('pull:quick');
    await stage.end('pull:slow');
    const { result } = await running;
    assert.deepEqual(stage.order, ['pull:slow', 'pull:quick', 'pull:quick']);
    assert.equal(result.length, 3);
  });

  test('one that fails stops no other; an interruption waits for all that are under way', async () => {
    const stage = new Stage();
    const controller = new AbortController();
    const reason = new SalvageError('interrupted', 'Interrupted');
    const lines: string[] = [];
    const running = run(
      [
        step('pull', 'gone', 'failed'),
        stage.step('pull', 'a'),
        stage.step('pull', 'b'),
        stage.step('verify', 'a'),
      ],
      {
        concurrency: 2,
        signal: controller.signal,
        observer: {
          onBegin: () => {},
          onEnd: ({ outcome }, id) => void lines.push(`${outcome} ${id}`),
          onBug: () => {},
        },
      },
    );
    const rejected = assert.rejects(running, reason);
    while (stage.going.size < 2) await settle();
    controller.abort(reason);
    await stage.end('pull:b');
    // Both had begun, and one is still going on: nobody is left behind.
    assert.deepEqual(lines, ['failure pull:gone', 'success pull:b']);
    await stage.end('pull:a');
    await Promise.race([rejected, settle()]);
    assert.deepEqual(lines, ['failure pull:gone', 'success pull:b', 'success pull:a']);
  });
});
