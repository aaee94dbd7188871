import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CliContext } from './context.ts';
import { JsonEvents, pathJson } from './json-events.ts';

function fakeContext(write: (data: string) => Promise<void>): { context: CliContext; clock: { ms: number } } {
  const clock = { ms: 0, now: () => new Date(0), monotonicMs: () => clock.ms };
  return { context: { clock, stdout: { write } } as unknown as CliContext, clock };
}

test('events come in order, progress once a second, the summary last', async () => {
  const lines: string[] = [];
  const { context, clock } = fakeContext(async (data) => {
    await new Promise((resolve) => setImmediate(resolve));
    lines.push(data);
  });
  const events = new JsonEvents(true, context);
  events.emit('notice', { message: 'a' });
  for (; clock.ms < 2500; clock.ms += 10) events.advance(100, 1);
  events.emit('problem', pathJson(Buffer.from([0x61, 0xff])));
  await events.end({ done: true });
  assert.deepEqual(lines, [
    '{"event":"notice","message":"a"}\n',
    '{"event":"progress","bytes":10100,"files":101}\n',
    '{"event":"progress","bytes":20100,"files":201}\n',
    '{"event":"problem","path64":"Yf8="}\n',
    '{"event":"summary","done":true}\n',
  ]);
});

test('a reader that goes away is heard of at the end', async () => {
  let writes = 0;
  const gone = new Error('gone');
  const { context } = fakeContext(async () => {
    writes++;
    throw gone;
  });
  const events = new JsonEvents(true, context);
  events.emit('notice');
  events.emit('notice');
  await assert.rejects(events.end({}), gone);
  assert.equal(writes, 1);
});

test('without --json nothing is written', async () => {
  const { context } = fakeContext(() => assert.fail('written'));
  const events = new JsonEvents(false, context);
  events.emit('notice');
  events.advance(1, 1);
  await events.end({});
});
