import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8Bytes } from '../bytes/bytes.ts';
import { decodeHealingRequest, encodeHealingRequest, mostPacksInRequest } from './healing-request.ts';
import type { PackId, RepositoryId } from './ids.ts';
import { healingFileName, roleOf } from './layout.ts';

const id = { stamp: '20261123T120000Z', random: '0123abcd' };
const request = {
  repository: 'ab'.repeat(16) as RepositoryId,
  time: '2026-11-23T12:00:00.500Z',
  packs: ['cd'.repeat(32) as PackId],
};
const packs = (count: number): PackId[] =>
  Array.from({ length: count }, (_, index) => String(index).padStart(64, '0') as PackId);

test('a request comes back from its bytes, up to the largest', () => {
  for (const one of [request, { ...request, packs: packs(mostPacksInRequest) }])
    assert.deepEqual(decodeHealingRequest(encodeHealingRequest(one), id), one);
});

test('its name says what it is', () => {
  for (const file of ['json', 'json.sig'] as const)
    assert.deepEqual(roleOf(healingFileName(id, file)), { kind: 'healing', id, file });
  for (const name of [
    'healing/x.json',
    'healing/20261123T120000Z-0123ABCD.json',
    'healing/20261123T120000Z-0123abcd.json.old',
    'healing/a/20261123T120000Z-0123abcd.json',
  ])
    assert.equal(roleOf(name), undefined, name);
});

test('what is no request is refused', () => {
  const text = Buffer.from(encodeHealingRequest(request)).toString();
  for (const [what, bytes] of Object.entries({
    'another time': utf8Bytes(text.replace('12:00:00', '12:00:01')),
    'no packs': encodeHealingRequest({ ...request, packs: [] }),
    'too many packs': encodeHealingRequest({ ...request, packs: packs(mostPacksInRequest + 1) }),
    'no digest': encodeHealingRequest({ ...request, packs: ['xyz' as PackId] }),
    'an unknown member': utf8Bytes(text.replace('{', '{"more": 1,')),
    'another version': utf8Bytes(text.replace('"version": 1', '"version": 2')),
    'too long': Buffer.concat([utf8Bytes(text), Buffer.alloc(1024 * 1024, ' ')]),
  }))
    assert.throws(() => decodeHealingRequest(bytes, id), { code: 'damaged' }, what);
});
