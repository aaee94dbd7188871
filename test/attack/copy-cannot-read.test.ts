// Whoever copies needs no key and can be given none: of all modules that `salvage copy` can load, none of our own format
// opens anything, and none reads identities or asks for passphrases. What storages are reached by (ssh, S3) is theirs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { moduleGraph } from '../support/module-graph.ts';

const graph = moduleGraph('cli/commands/copy.ts');

test('the graph is the real one', () => {
  for (const name of [
    'operation/copy/plan-copy.ts',
    'operation/copy/copy.ts',
    'ssh/sshsig.ts',
    'storage/open-storage.ts',
  ])
    assert.ok(graph.has(name), name);
});

test('no module of a copy opens anything', () => {
  for (const [name, text] of graph) {
    assert.doesNotMatch(name, /^age\/|pack-reader|sealed-objects|open-snapshot|open-index/, name);
    assert.doesNotMatch(text, /\b(?:openEnvelope|unwrapFileKey|decryptPayload|parseIdentity)\w*\(/, name);
  }
});

test('no module of a copy reads an identity, a private key, a host configuration, or a passphrase', () => {
  for (const [name, text] of graph) {
    assert.doesNotMatch(
      name,
      /identity|resolve-keys|key-flags|passphrase|private-key|load-signer|host-configuration/,
      name,
    );
    assert.doesNotMatch(text, /--identity|--passphrase/, name);
  }
});
