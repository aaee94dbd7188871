import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crontabBlock, hasBlock, replaceBlock } from './crontab.ts';
import type { ServicePlan } from './service-plan.ts';

const plan: ServicePlan = {
  name: 'salvage',
  configuration: '/etc/100%/it’s mine.toml',
  command: ['/usr/bin/salvage', 'run', '--config', "/etc/100%/it's mine.toml"],
  environment: { HOME: '/root' },
  schedules: ['daily'],
  ownFolders: [],
  writablePaths: [],
  credentials: {},
  randomizedDelay: 600,
  nice: 10,
  ioClass: 'best-effort',
};

test('a line for cron has its percent signs escaped and its words quoted', () => {
  const [first, line, last, ...rest] = crontabBlock(plan, 'web-1').split('\n');
  assert.match(first!, /^# BEGIN salvage:/);
  assert.match(
    line!,
    /^\d+,\d+,\d+,\d+ \* \* \* \* env PATH=\S+ HOME=\/root nice -n 10 \/usr\/bin\/salvage run --config '\/etc\/100\\%\/it'\\''s mine\.toml' -q$/,
  );
  assert.deepEqual([last, ...rest], ['# END salvage', '']);
});

test('four times an hour, at minutes of its own', () => {
  const minutesOf = (host: string): number[] =>
    crontabBlock(plan, host).split('\n')[1]!.split(' ')[0]!.split(',').map(Number);
  for (const host of ['a', 'b', 'c', 'd', 'e']) {
    const minutes = minutesOf(host);
    assert.deepEqual(
      minutes,
      [0, 15, 30, 45].map((later) => minutes[0]! + later),
    );
    assert.ok(minutes[0]! < 15);
  }
  assert.notDeepEqual(minutesOf('a'), minutesOf('b'));
});

test('only the block of that name is replaced or taken away', () => {
  const block = crontabBlock(plan, 'a');
  const other = crontabBlock({ ...plan, name: 'salvage-2' }, 'a');
  const own = '# mine\n0 0 * * * true\n';
  assert.equal(replaceBlock('', 'salvage', block), block);
  assert.equal(replaceBlock(own, 'salvage', block), own + block);
  assert.equal(replaceBlock(own + block + other, 'salvage', block), own + other + block);
  assert.equal(replaceBlock(own + block + other, 'salvage', ''), own + other);
  assert.equal(replaceBlock(block, 'salvage', ''), '');
  assert.equal(hasBlock(own + other, 'salvage'), false);
  assert.equal(hasBlock(own + block, 'salvage'), true);
  // A block without its end is not ours to cut: what follows may be the user's.
  const begun = block.split('\n')[0]!;
  assert.equal(replaceBlock(`${begun}\n${own}`, 'salvage', ''), `${begun}\n${own}`);
  assert.equal(replaceBlock(`${begun}\n${own}${block}`, 'salvage', ''), `${begun}\n${own}`);
});

test('a crontab without a line feed at its end does not lose its last line', () => {
  assert.equal(replaceBlock('0 0 * * * true', 'salvage', 'x\n'), '0 0 * * * true\nx\n');
});
