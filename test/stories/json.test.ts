// The manual's page on JSON tells the truth: what is printed is as it says, and every member that is printed stands on it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSandbox } from '../support/cli.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/manual/json.md'), 'utf8');

/** The words in backquotes in the rows of the page's tables that are about a command. */
function membersOf(command: string): Set<string> {
  const words = new Set<string>();
  let about = '';
  for (const line of page.split('\n')) {
    const [, first, rest = ''] = /^\| ([^|]*)\|(.*)$/.exec(line) ?? [];
    if (first === undefined) continue;
    if (first.trim() !== '') about = first;
    if (about.startsWith('all but') || about.includes(`\`${command}`))
      for (const [, word] of rest.matchAll(/`(\w+)`/g)) words.add(word!);
  }
  return words;
}

test('all JSON is one object to a line, with members that the manual names', async (t) => {
  const box = createSandbox(t);
  box.write('data/file', 'precious');
  await box.salvage(['quickstart', 'data']);
  const config = box.path('.home/.config/salvage');
  const repository = box.path('.home/.local/share/salvage/repository');
  box.write('data/more', 'precious, too');
  const [principal = ''] = readFileSync(join(config, 'allowed_signers'), 'utf8').split(' ');
  const identity = ['-i', join(config, 'identity.txt')];
  const signers = ['--allowed-signers', join(config, 'allowed_signers')];
  const table: [command: string, kind: 'events' | 'lines' | 'one', ...args: string[]][] = [
    ['backup', 'events', 'data'],
    ['snapshots', 'lines', ...identity],
    ['ls', 'lines', 'latest', ...identity],
    ['find', 'lines', 'file', ...identity],
    ['diff', 'lines', '1', '2', ...identity],
    ['restore', 'events', 'latest', ...identity, '--target', 'restored', '-n'],
    ['restore', 'events', 'latest', ...identity, '--target', 'restored'],
    ['verify', 'events', ...signers, '--signer', principal],
    ['doctor', 'one'],
    ['drill', 'one', ...identity, ...signers],
    ['forget', 'lines', '--keep-last', '1', '-n', ...signers],
    ['prune', 'one', '-n', ...signers],
  ];
  for (const [command, kind, ...args] of table) {
    const { code, stdout, stderr } = await box.salvage([command, ...args, '--json'], {
      env: { SALVAGE_REPOSITORY: repository },
    });
    assert.equal(code, 0, stderr);
    const lines = stdout.toString().split('\n');
    assert.equal(lines.pop(), '', `${command} ends its last line`);
    const objects = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.ok(kind === 'one' ? objects.length === 1 : objects.length > 0, command);
    if (kind === 'events') {
      for (const { event } of objects)
        assert.ok(membersOf(command).has(event as string), `${command}: ${event as string}`);
      assert.equal(objects.at(-1)!['event'], 'summary');
    }
    for (const object of objects)
      for (const member of Object.keys(object))
        assert.ok(
          member === 'event' || membersOf(command).has(member),
          `${command}: ${member} is not in json.md`,
        );
  }
  const wrong = await box.salvage([
    'restore',
    'latest',
    '--json',
    '--repo',
    box.path('none'),
    '--target',
    'x',
    ...identity,
  ]);
  assert.equal(wrong.code, 10);
  assert.equal(wrong.stdout.length, 0);
  assert.deepEqual(Object.keys(JSON.parse(wrong.stderr) as object), ['error']);
});
