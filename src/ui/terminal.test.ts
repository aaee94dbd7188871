import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '../clock/clock.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { displayWidth } from './display-width.ts';
import { Terminal, type TerminalSettings } from './terminal.ts';

interface FakeOutput {
  isTerminal: boolean;
  written: string[];
  columns(): number;
  write(text: string): void;
}

function fakeOutput(isTerminal: boolean, columns = 80): FakeOutput {
  const written: string[] = [];
  return { isTerminal, written, columns: () => columns, write: (text) => written.push(text) };
}

class FakeClock implements Clock {
  ms = 0;
  now(): Date {
    return new Date(this.ms);
  }
  monotonicMs(): number {
    return this.ms;
  }
}

function say(settings: TerminalSettings, env: Record<string, string>, isTerminal = true): string {
  const output = fakeOutput(isTerminal);
  const terminal = new Terminal(output, new FakeClock(), env);
  terminal.configure(settings);
  terminal.info('info');
  terminal.detail('detail');
  terminal.warning('warning', 'do this');
  return output.written.join('');
}

test('-q leaves warnings, -v adds details', () => {
  assert.equal(say({}, {}, false), 'info\nwarning: warning\nhint: do this\n');
  assert.equal(say({ quiet: true }, {}, false), 'warning: warning\nhint: do this\n');
  assert.equal(say({ verbose: true }, {}, false), 'info\ndetail\nwarning: warning\nhint: do this\n');
});

test('colour on a terminal only, and as the environment wants it', () => {
  const coloured = '\x1b[33mwarning:\x1b[39m';
  const table: [env: Record<string, string>, isTerminal: boolean, expected: boolean][] = [
    [{}, true, true],
    [{}, false, false],
    [{ NO_COLOR: '1' }, true, false],
    [{ NO_COLOR: '' }, true, true],
    [{ TERM: 'dumb' }, true, false],
    [{ FORCE_COLOR: '1' }, false, true],
    [{ FORCE_COLOR: '0' }, true, false],
    [{ FORCE_COLOR: '1', NO_COLOR: '1' }, false, true],
  ];
  for (const [env, isTerminal, expected] of table)
    assert.equal(say({}, env, isTerminal).includes(coloured), expected, JSON.stringify(env));
});

test('messages are escaped', () => {
  const output = fakeOutput(false);
  const terminal = new Terminal(output, new FakeClock(), {});
  terminal.info('a\x1b[31m\nb');
  terminal.error(new SalvageError('failed', 'Cannot read "\x1b]0;x\x07"', { hint: 'try\nthis' }));
  assert.deepEqual(output.written, [
    'a\\x1b[31m\\nb\n',
    'salvage: Cannot read "\\x1b]0;x\\x07"\n',
    'hint: try\\nthis\n',
  ]);
});

test('an error shows message and hint; its causes with -v; all of it as JSON with --json', () => {
  const error = new SalvageError('bad-key', 'Cannot use "k": it is broken', {
    hint: 'make a new one',
    details: { line: 3 },
    cause: new Error('outer', { cause: new Error('inner') }),
  });
  const show = (settings: TerminalSettings): string => {
    const output = fakeOutput(false);
    const terminal = new Terminal(output, new FakeClock(), {});
    terminal.configure(settings);
    terminal.error(error);
    return output.written.join('');
  };
  const plain = 'salvage: Cannot use "k": it is broken\nhint: make a new one\n';
  assert.equal(show({}), plain);
  assert.equal(show({ verbose: true }), `${plain}because: outer\nbecause: inner\n`);
  assert.deepEqual(JSON.parse(show({ json: true })), {
    error: {
      code: 'bad-key',
      message: 'Cannot use "k": it is broken',
      hint: 'make a new one',
      details: { line: 3 },
    },
  });
});

test('anything but a SalvageError is shown as our bug, with its stack', () => {
  const output = fakeOutput(false);
  new Terminal(output, new FakeClock(), {}).error(new TypeError('x is not a function'));
  const text = output.written.join('');
  assert.match(text, /^salvage: this is a bug in salvage/);
  assert.match(text, /TypeError: x is not a function\n {6}at .*terminal\.test\.ts/);
});

test('the progress line is calm, fits the terminal, makes way for messages and goes away', () => {
  const clock = new FakeClock();
  const output = fakeOutput(true);
  const terminal = new Terminal(output, clock, {});
  const progress = terminal.startProgress('backing up');
  progress.setTotal(100 * 1024 ** 2, 2000);
  for (; clock.ms < 10_000; clock.ms += 10) progress.advance(1024 * 50, 1);
  assert.ok(output.written.length <= 50, `${output.written.length} updates in ten seconds`);
  assert.equal(
    output.written.at(-1),
    '\rbacking up 47.9 MiB of 100 MiB (47 %), 981 of 2000 files, 4.89 MiB/s, 11 s left\x1b[K',
  );
  terminal.warning('one');
  assert.deepEqual(output.written.slice(-2), ['\r\x1b[K', '\x1b[33mwarning:\x1b[39m one\n']);
  clock.ms += 1000;
  progress.advance(1, 1);
  progress.end();
  assert.equal(output.written.at(-1), '\r\x1b[K');
  const count = output.written.length;
  clock.ms += 1000;
  progress.advance(1, 1);
  assert.equal(output.written.length, count);
});

test('the progress line of a large run keeps per cent and time left at 80 columns and below', () => {
  const lineAt = (columns: number): string => {
    const clock = new FakeClock();
    const output = fakeOutput(true, columns);
    const progress = new Terminal(output, clock, {}).startProgress('sealing');
    progress.setTotal(1.23 * 1024 ** 4, 2_345_678);
    clock.ms = 3_600_000;
    progress.advance(500 * 1024 ** 3, 1_234_567);
    return output.written[0]!.slice(1, -3);
  };
  const amount = 'sealing 500 GiB of 1.23 TiB (39 %)';
  const left = '1 h 31 min left';
  assert.equal(lineAt(200), `${amount}, 1234567 of 2345678 files, 142 MiB/s, ${left}`);
  assert.equal(lineAt(80), `${amount}, 1234567 files, 142 MiB/s, ${left}`);
  assert.equal(lineAt(70), `${amount}, 1234567 files, ${left}`);
  assert.equal(lineAt(60), `${amount}, ${left}`);
});

test('the progress line is cut to a narrow terminal', () => {
  const clock = new FakeClock();
  const output = fakeOutput(true, 20);
  const progress = new Terminal(output, clock, {}).startProgress('漢字漢字漢字漢字漢字');
  clock.ms = 500;
  progress.advance(10, 0);
  assert.equal(displayWidth(output.written[0]!.slice(1, -3)), 18);
});

test('no progress line on a pipe, with -q, --json or --no-progress; the counts are kept', () => {
  for (const [settings, isTerminal] of [
    [{}, false],
    [{ quiet: true }, true],
    [{ json: true }, true],
    [{ progress: false }, true],
  ] as const) {
    const clock = new FakeClock();
    const output = fakeOutput(isTerminal);
    const terminal = new Terminal(output, clock, {});
    terminal.configure(settings);
    const progress = terminal.startProgress('reading');
    clock.ms = 1000;
    progress.advance(5, 1);
    progress.end();
    assert.deepEqual(output.written, []);
    assert.deepEqual([progress.bytes, progress.files], [5, 1]);
  }
});

test('several things side by side: a name in front of each line, one progress line for all', () => {
  const output = fakeOutput(true);
  const clock = new FakeClock();
  const terminal = new Terminal(output, clock, { NO_COLOR: '1' });
  const whole = terminal.startProgress('running');
  const [first, second] = [terminal.named('pull:web-1'), terminal.named('pull:web-2')];
  const heard: string[] = [];
  first.listen((level, message) => void heard.push(`${level} ${message}`));
  const part = first.startProgress('pulling');
  clock.ms = 1000;
  part.advance(2048, 1);
  assert.equal(part.isShown, false);
  assert.match(output.written.at(-1)!, /^\rrunning 2\.00 KiB, 1 files/);
  first.warning('slow', 'wait');
  second.info('done');
  // The line of progress goes away before a message comes.
  assert.deepEqual(output.written.slice(1), [
    '\r\x1b[K',
    'pull:web-1: warning: slow\n',
    'pull:web-1: hint: wait\n',
    'pull:web-2: done\n',
  ]);
  assert.deepEqual(heard, ['warning slow']);
  whole.end();
});
