// Binary revocation lists that ssh-keygen writes: one verdict here and there.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fingerprint, parsePublicKeyLine, type PublicKey } from '../../src/ssh/public-key.ts';
import { parseRevokedKeys } from '../../src/ssh/revoked-keys.ts';
import { needsPeers } from '../support/peers.ts';

const types = ['ed25519', 'rsa', 'ecdsa'] as const;
/** The last one is never revoked, but a certificate for it is. */
const names = [...types, 'other'];

describe('key revocation lists of ssh-keygen', needsPeers, () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'salvage-krl-'));
    for (const [name, ...type] of [
      ['ed25519', 'ed25519'],
      ['rsa', 'rsa', '-b', '2048'],
      ['ecdsa', 'ecdsa'],
      ['other', 'ed25519'],
      ['authority', 'ed25519'],
    ] as const)
      keygen('-q', '-N', '', '-f', name, '-t', ...type);
    keygen('-q', '-s', 'authority', '-I', 'an id', '-n', 'root', '-z', '7', 'other.pub');
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const at = (name: string): string => join(folder, name);
  const keygen = (...args: string[]): string =>
    execFileSync('ssh-keygen', args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const publicKey = (name: string): PublicKey =>
    parsePublicKeyLine(readFileSync(at(`${name}.pub`), 'utf8'))!.key;

  /** Which keys the list revokes, by our word and by theirs. */
  function revokedBy(list: string): string[] {
    const revoked = parseRevokedKeys(readFileSync(at(list)));
    const ours = names.filter((name) => revoked.has(publicKey(name)));
    const theirs = names.filter(
      (name) => spawnSync('ssh-keygen', ['-Q', '-f', list, `${name}.pub`], { cwd: folder }).status !== 0,
    );
    assert.deepEqual(ours, theirs, list);
    return ours;
  }

  for (const type of types)
    test(`${type} keys, by themselves and by digest`, () => {
      keygen('-k', '-f', 'by-key', `${type}.pub`);
      assert.deepEqual(revokedBy('by-key'), [type]);
      const line = readFileSync(at(`${type}.pub`), 'utf8');
      const specifications = {
        key: `key: ${line}`,
        sha1: `sha1: ${line}`,
        sha256: `sha256: ${line}`,
        hash: `hash: ${fingerprint(publicKey(type))}\n`,
      };
      for (const [name, specification] of Object.entries(specifications)) {
        writeFileSync(at(`${name}.txt`), specification);
        keygen('-k', '-f', `by-${name}`, `${name}.txt`);
        assert.deepEqual(revokedBy(`by-${name}`), [type]);
      }
    });

  test('lists that grow, beside certificates of all kinds', () => {
    keygen('-k', '-z', '1', '-f', 'growing', 'ed25519.pub');
    writeFileSync(at('more.txt'), `sha256: ${readFileSync(at('rsa.pub'), 'utf8')}`);
    keygen('-k', '-u', '-z', '2', '-f', 'growing', 'more.txt');
    const serials = Array.from({ length: 40 }, (_, index) => `serial: ${index * index + 1}`);
    const certificates = [...serials, 'serial: 100000-200000', 'id: someone', 'id: an id'].join('\n');
    writeFileSync(at('certificates.txt'), `${certificates}\n`);
    keygen('-k', '-u', '-f', 'growing', '-s', 'authority.pub', 'certificates.txt');
    assert.deepEqual(revokedBy('growing'), ['ed25519', 'rsa']);
  });

  test('an empty list, and one of a certificate alone', () => {
    keygen('-k', '-f', 'empty');
    assert.deepEqual(revokedBy('empty'), []);
    keygen('-k', '-f', 'certificate', 'other-cert.pub');
    assert.deepEqual(revokedBy('certificate'), []);
  });
});
