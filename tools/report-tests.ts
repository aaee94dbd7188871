import { relative } from 'node:path';
import { Readable } from 'node:stream';
import { spec, type TestEvent } from 'node:test/reporters';

/** Of the message and of what was expected, for each failed test. */
const mostLines = 6;
const longestLine = 300;
/** A cause may be its own. */
const deepestCause = 8;

/**
 * The report of the runner, then each failed test in a few lines, and the runner's counts last: so the end of a log that
 * was cut tells everything. Suites that failed for nothing but a test in them are not listed.
 */
export async function* reportTests(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const failures: string[] = [];
  const counts: string[] = [];
  async function* noting(): AsyncGenerator<TestEvent> {
    /** Of the test that is reported and of those around it. */
    const names: string[] = [];
    for await (const event of events) {
      const { type, data } = event;
      if (type === 'test:start') names.splice(data.nesting, Infinity, data.name);
      if (type === 'test:fail') names.splice(data.nesting, Infinity, data.name);
      if (type === 'test:fail' && data.todo === undefined) {
        const error: unknown = data.details.error;
        if (field(error, 'failureType') !== 'subtestsFailed')
          failures.push([`${placeOf(data)} ${names.join(' > ')}`, ...describeError(error)].join('\n  '));
      }
      if (type === 'test:diagnostic' && data.nesting === 0 && isCount(data.message))
        counts.push(data.message);
      else yield event;
    }
  }
  for await (const text of Readable.from(noting()).compose(spec)) yield String(text);
  if (failures.length > 0) yield `\n✖ ${failures.length} failed:\n\n${failures.join('\n\n')}\n\n`;
  for (const count of counts) yield `ℹ ${count}\n`;
}

function isCount(message: string): boolean {
  return /^(?:tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/.test(message);
}

/** Where the test is written, and of tests that many files share the file that ran it. */
function placeOf(data: { readonly file?: string | undefined; readonly line?: number | undefined }): string {
  const { file = '', line = 1 } = data;
  const entryFile = field(data, 'entryFile');
  const ranBy = typeof entryFile === 'string' && entryFile !== file ? ` (${relative('', entryFile)})` : '';
  return `${relative('', file)}:${line}${ranBy}`;
}

function describeError(error: unknown): string[] {
  // The runner wraps what was thrown.
  const thrown: unknown =
    field(error, 'failureType') === undefined ? error : (field(error, 'cause') ?? error);
  const lines = firstLines(messageOf(thrown));
  for (const name of ['exitCode', 'signal'])
    if (typeof field(error, name) === 'number' || typeof field(error, name) === 'string')
      lines.push(`${name}: ${String(field(error, name))}`);
  for (const name of ['expected', 'actual']) {
    const value: unknown = field(thrown, name);
    // Longer ones are in the message, as a difference.
    if (['string', 'number', 'boolean'].includes(typeof value))
      lines.push(`${name}: ${shorten(String(value))}`);
  }
  let cause: unknown = field(thrown, 'cause');
  for (let depth = 0; depth < deepestCause && cause !== undefined; depth++) {
    lines.push(`cause: ${firstLines(messageOf(cause), 1).join('')}`);
    cause = field(cause, 'cause');
  }
  return lines;
}

function messageOf(thrown: unknown): string {
  const message: unknown = field(thrown, 'message');
  const name: unknown = field(thrown, 'name');
  if (typeof message !== 'string') return String(thrown);
  return `${typeof name === 'string' ? name : 'Error'}: ${message}`;
}

function firstLines(text: string, most = mostLines): string[] {
  let lines = text.split('\n').filter((line) => line.trim() !== '');
  // Of a difference only what differs.
  const legend = lines.indexOf('+ actual - expected');
  if (legend > 0) lines = [lines[0]!, ...lines.slice(legend + 1).filter((line) => /^[+-]/.test(line))];
  return lines.slice(0, most).map(shorten);
}

function shorten(line: string): string {
  const flat = line.replaceAll('\n', '\\n');
  return flat.length > longestLine ? `${flat.slice(0, longestLine)}…` : flat;
}

/** A property of an object that may be an error of another process. */
function field(from: unknown, name: string): unknown {
  return typeof from === 'object' && from !== null ? (from as Record<string, unknown>)[name] : undefined;
}
