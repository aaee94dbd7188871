// What everybody sees of a snapshot without a key is text of the host, too: labels, and the lists that a keeper prints.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { LocalStorage } from '../../src/storage/local/local-storage.ts';
import { createSandbox } from '../support/cli.ts';
import { HandMadeRepository } from '../support/hand-made-repository.ts';

test('labels move no cursor of a keeper, and hide no row', async (t) => {
  const box = createSandbox(t);
  const repository = await HandMadeRepository.create(new LocalStorage(box.path('repository')));
  const labels = {
    '\u001b[2J\u001b]0;owned\u0007': '\u001b[1A\u001b[2K',
    'new\nline': '\r99  00000099-20261123T100000Z-00000000  last',
    '\u202egnp.exe': '\u009b31m',
    __proto__x: 'constructor',
  };
  await repository.snapshot([], { labels });
  await repository.snapshot([], { labels });
  await repository.snapshot([]);
  writeFileSync(box.path('allowed'), repository.allowedSignersText);
  const common = ['--repo', 'repository', '--allowed-signers', 'allowed'];
  for (const command of [
    ['forget', '--keep-last', '1', '-n'],
    ['forget', '--keep-last', '2', '-n', '--json'],
    ['forget', '--keep-label', Object.keys(labels)[0]!],
    ['snapshots'],
    ['snapshots', '--json'],
    ['prune'],
  ]) {
    const { code, stdout, stderr } = await box.salvage([...command, ...common]);
    assert.equal(code, 0, stderr);
    // JSON is for programs: it has its own escapes for what moves a cursor, save for the characters of eight bits.
    const forbidden = command.includes('--json')
      ? // eslint-disable-next-line no-control-regex
        /[\u0000-\u0009\u000b-\u001f]/
      : // eslint-disable-next-line no-control-regex
        /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/;
    assert.doesNotMatch(stdout.toString() + stderr, forbidden, command.join(' '));
    assert.ok(stdout.toString().trim().split('\n').length <= 4, 'no row more than there are snapshots');
  }
});
