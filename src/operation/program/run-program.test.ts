import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runProgram, type ProgramCall } from './run-program.ts';

const call: ProgramCall = { program: '/bin/cat', args: [], env: {}, input: 'in', timeoutMs: 30_000 };

test('what it reads and prints, and how it ends', async () => {
  assert.deepEqual(await runProgram(call), { trouble: undefined, output: 'in' });
  const failed = await runProgram({ ...call, program: '/bin/sh', args: ['-c', 'exit 4'] });
  assert.deepEqual(failed, { trouble: 'ended with exit code 4', output: '' });
  const killed = await runProgram({ ...call, program: '/bin/sh', args: ['-c', 'kill -USR1 $$'] });
  assert.equal(killed.trouble, 'was ended by SIGUSR1');
});

test('one that is not there, or cannot be called so, is a trouble and no error', async () => {
  for (const changes of [{ program: '/nonexistent' }, { args: ['a\0b'] }, { env: { A: 'a\0b' } }])
    assert.match((await runProgram({ ...call, ...changes })).trouble!, /^could not be started: /);
});

test('one that does not listen to the request to end is killed', async () => {
  const { trouble, output } = await runProgram({
    ...call,
    program: '/bin/sh',
    args: ['-c', 'trap "" TERM; (trap "" TERM; sleep 1000) & echo up; while :; do sleep 0.05; done'],
    timeoutMs: 3000,
    graceMs: 100,
  });
  assert.equal(trouble, 'took longer than 3 seconds and was ended');
  assert.equal(output, 'up');
});
