// The backup side never holds an identity that opens content: of all modules that init and backup can load, one opens
// anything, with the host's index key, and none reads identities, passphrases for them, or packs of content.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { moduleGraph } from '../support/module-graph.ts';

const graph = moduleGraph('operation/init/init.ts', 'operation/backup/backup.ts');

test('the graph is the real one', () => {
  for (const name of [
    'operation/backup/backup-worker.ts',
    'age/envelope.ts',
    'operation/backup/open-index.ts',
  ])
    assert.ok(graph.has(name), name);
});

test('one module opens something: index objects', () => {
  const openers = [...graph]
    .filter(
      ([name, text]) =>
        !name.startsWith('age/') && /\b(?:openEnvelope|unwrapFileKey|decryptPayload)\w*\(/.test(text),
    )
    .map(([name]) => name);
  assert.deepEqual(openers, ['operation/backup/open-index.ts']);
  const callers = [...graph].filter(([name, text]) => name !== openers[0] && /\bopenIndex\(/.test(text));
  assert.deepEqual(
    callers.map(([name]) => name),
    ['operation/backup/known-repository.ts'],
  );
  assert.match(graph.get('operation/backup/backup.ts')!, /parseIdentity\(host\.indexKey\)/);
  const parsers = [...graph].filter(
    ([name, text]) => !name.startsWith('age/') && /\bparseIdentity\w*\(/.test(text),
  );
  assert.deepEqual(
    parsers.map(([name]) => name),
    ['operation/backup/backup.ts'],
  );
});

test('no module reads identity files, or content that is stored', () => {
  for (const name of graph.keys())
    assert.doesNotMatch(
      name,
      /identity-file|ssh-identity|scrypt-identity|sealed-objects|open-snapshot|operation\/restore/,
      name,
    );
});
